"""``vyactl``, also called ``vya-backupdb``: the tree of commands, and the way from every failure to an exit code."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from vya_backupd import __version__
from vya_backupd.client.command import EXIT_CODES, OutputOption, SocketOption
from vya_backupd.client.commands import (
    audit,
    backup,
    backups,
    config,
    credentials,
    doctor,
    extract,
    notify,
    operations,
    restore,
    retention,
    schedule,
    status,
    throttle,
    verify,
)
from vya_backupd.client.screen import Output, Screen
from vya_backupd.client.session import DEFAULT_SOCKET, Session
from vya_backupd.errors import UsageError, VyaError


def build() -> typer.Typer:
    """The whole program. Help is plain text: it reads like a manual page, also in a pipe, and starts at once."""
    codes = "\n".join(f"  {code:<4}{text}" for code, text in EXIT_CODES.items())
    app = typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 120},
        epilog=f"\b\nExit codes:\n{codes}",
    )
    app.callback()(program)
    for module in (
        backup,
        restore,
        verify,
        status,
        doctor,
        backups,
        extract,
        operations,
        config,
        credentials,
        audit,
        retention,
        schedule,
        throttle,
        notify,
    ):
        module.register(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vyactl {__version__}")
        raise typer.Exit


def program(
    context: typer.Context,
    socket: SocketOption = None,
    output: OutputOption = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Back up and restore MySQL, MariaDB and PostgreSQL servers.

    Speaks to the daemon vya-backupd over its control socket. Answers go to stdout, as tables or as one JSON document;
    progress and messages go to stderr. '--socket' and '--output' may stand before or after the command's name.
    """
    del version
    context.obj = Session(screen=Screen(output or Output.TABLE), socket_path=socket or DEFAULT_SOCKET)


def main() -> None:
    """Run the program and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the program with these arguments; returns the exit code and prints every failure."""
    if not arguments:
        return run(["--help"]) or UsageError.exit_code
    screen = Screen(Output.JSON if wants_json(arguments) else Output.TABLE)
    name = sys.argv[0].rpartition("/")[2]
    try:
        result = typer.main.get_command(build()).main(
            list(arguments), prog_name=name if name == "vya-backupdb" else "vyactl", standalone_mode=False
        )
    except VyaError as error:
        screen.error(error)
        return error.exit_code
    except typer.TyperException as error:
        screen.error(UsageError(error.format_message(), hint=_usage_hint(error)))
        return UsageError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:  # noqa: BLE001 - the last floor: a mistake of ours is shown with its trace, and has an exit code
        traceback.print_exc()
        screen.error(
            VyaError(f"unexpected: {type(error).__name__}: {error}", hint="Please report this, with the trace.")
        )
        return VyaError.exit_code
    return result if isinstance(result, int) else 0


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line asks for JSON, also where the rest of it makes no sense."""
    last = "table"
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        flag, _, attached = argument.partition("=")
        value = following if argument in {"--output", "-o"} else attached if flag == "--output" else argument[2:]
        if flag in {"--output", "-o"} or argument.startswith("-o"):
            last = value if value in {"table", "json"} else last
    return last == "json"


def _usage_hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"See: {context.command_path} --help" if context is not None else "See --help."
