"""The page of all commands, written from the program itself: run ``python -m vya_backupd.client.reference`` to rewrite it.

``docs/commands.md`` and ``--help`` come from the same declarations, so neither can fall behind the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from vya_backupd.client.command import EXIT_CODES, PagedCommand
from vya_backupd.client.main import build

PAGE = Path("docs/commands.md")
_HEAD = """\
# Commands

`vyactl` and `vya-backupdb` are one program under two names. It asks the daemon, over the control socket; `config
validate` and `credentials` need no daemon, and `backup`, `restore` and `verify` do without one under `--standalone`.

Answers go to stdout: a table, or with `--output json` one JSON document and nothing else. Progress, plans, questions
and failures go to stderr. A failure in JSON is `{"error": {"code", "message", "hint", "retryable", "exit_code"}}`; the
codes are explained in [troubleshooting.md](troubleshooting.md). Sizes are rounded in tables and exact in JSON; times are
shown in the local time zone with their offset.

A client that is left with Ctrl-C leaves its operation running: `operations watch` takes it up again, and `operations
cancel` ends it. Under `--standalone` the work is the client's own, and Ctrl-C or SIGTERM cancels it.

This page is written by `python -m vya_backupd.client.reference`.
"""


def page() -> str:
    """The whole page."""
    root = typer.main.get_command(build())
    rows = "".join(f"| {code} | {text} |\n" for code, text in EXIT_CODES.items())
    options = "".join(_option(parameter) for parameter in root.params)
    parts = [
        _HEAD,
        f"## Exit codes\n\n| code | meaning |\n|---|---|\n{rows}",
        f"## Options of the program\n\n{options}",
    ]
    parts += [_section(name, command) for name, command in walk(root)]
    return "\n".join(parts)


def walk(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, as the program lists them."""
    for name, command in group.commands.items():
        full = f"{above}{name}"
        if hasattr(command, "commands"):
            yield from walk(command, f"{full} ")
        elif isinstance(command, PagedCommand):
            yield full, command


def _section(name: str, command: PagedCommand) -> str:
    usage = " ".join(["vyactl", name, *_arguments(command), "[OPTIONS]"])
    options = "".join(_option(parameter) for parameter in command.params if parameter.param_type_name == "option")
    examples = "\n".join(command.page.examples)
    codes = ", ".join(f"{code}" for code in command.page.exits)
    return f"## {name}\n\n`{usage}`\n\n{command.help}\n\n{options}\n```\n{examples}\n```\n\nExit codes: {codes}.\n"


def _arguments(command: PagedCommand) -> list[str]:
    return [str(item.metavar or item.name) for item in command.params if item.param_type_name == "argument"]


def _option(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    value = "" if parameter.is_flag else f" {_value(parameter)}"
    variable = f" Variable `{parameter.envvar}`." if parameter.envvar else ""
    return f"* {names}{value}: {parameter.help}{variable}\n"


def _value(parameter: Any) -> str:
    if parameter.metavar:
        return f"*{parameter.metavar}*"
    descriptor = parameter.type_descriptor
    return f"*{'|'.join(str(choice.value) for choice in descriptor.choices)}*" if descriptor.is_choice else "*N*"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Write the page of all commands.")
    arguments.add_argument("file", nargs="?", type=Path, default=PAGE, help="default: %(default)s")
    arguments.parse_args().file.write_text(page(), encoding="utf-8")
