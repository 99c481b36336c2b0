"""How a command is declared: its text, examples, exit codes and the options that all commands share.

``@command`` wraps a function that takes a ``Session`` first. The wrapper adds the shared options to the command's own,
so that ``--output`` and ``--socket`` work before and after the command's name, and returns the function's exit code.
The declarations are kept on the command (``Page``): ``--help`` and ``docs/commands.md`` are both made from them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer

from vya_backupd.client.screen import Output, Screen
from vya_backupd.client.session import DEFAULT_CONFIG, DEFAULT_SOCKET, Session

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "failed",
    2: "the command line makes no sense, or a confirmation is needed and nobody can be asked",
    3: "some databases failed",
    4: "no such instance, database, backup or operation",
    5: "a file failed verification",
    6: "busy, or refused because of the target's state",
    7: "no daemon answers",
    8: "denied",
    78: "configuration or credentials",
    130: "interrupted",
}
"""Every exit code of the client, and what it means."""

SocketOption = Annotated[
    str | None,
    typer.Option(
        "--socket",
        metavar="PATH",
        envvar="VYA_SOCKET",
        help=f"The daemon's control socket. [default: {DEFAULT_SOCKET}]",
    ),
]
OutputOption = Annotated[
    Output | None,
    typer.Option("--output", "-o", help="A table for people, or one JSON document on stdout. [default: table]"),
]
StandaloneOption = Annotated[
    bool,
    typer.Option("--standalone", help="Do the work in this process, without a daemon; refused while one runs."),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE", envvar="VYA_CONFIG", help=f"The configuration file. [default: {DEFAULT_CONFIG}]"
    ),
]


@dataclass(frozen=True, slots=True)
class Page:
    """What a command's manual page says beyond its text and options."""

    examples: tuple[str, ...]
    exits: tuple[int, ...]


class PagedCommand(typer.core.TyperCommand):
    """A command whose help ends with examples and exit codes."""

    page: Page


def command(
    app: typer.Typer,
    name: str,
    *,
    examples: tuple[str, ...],
    exits: tuple[int, ...] = (),
    daemon: bool = True,
    standalone: bool = False,
    form: bool = True,
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Declare a command.

    ``exits`` are the exit codes beyond 0, 1, 2 (and 7, 8 where a daemon is asked). ``daemon`` adds ``--socket``,
    ``standalone`` adds ``--standalone`` and ``--config``; without ``form`` the command's own ``--output`` means
    something else, and the answer's form is chosen before the command's name.
    """
    codes = {0, 1, 2, *exits, *((7, 8) if daemon else ())}
    page = Page(examples, tuple(sorted(codes)))

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        run = _with_shared_options(function, daemon=daemon, standalone=standalone, form=form)
        paged = type("Paged", (PagedCommand,), {"page": page})
        app.command(name, cls=paged, epilog=_epilog(page), help=inspect.getdoc(function))(run)
        return function

    return register


def _with_shared_options(
    function: Callable[..., int | None], *, daemon: bool, standalone: bool, form: bool
) -> Callable[..., int]:
    """The function as Typer sees it: its own options, then the shared ones."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    def run(**values: Any) -> int:
        chosen = {name: values.pop(name) for name, _, _ in shared}
        session = _session(values.pop("context"), chosen)
        return function(session, **_folded(own, values)) or 0

    offered: list[tuple[bool, tuple[str, Any, Any]]] = [
        (form, ("output", OutputOption, None)),
        (daemon, ("socket", SocketOption, None)),
        (standalone, ("standalone", StandaloneOption, False)),
        (standalone, ("config", ConfigOption, None)),
    ]
    shared = [option for wanted, option in offered if wanted]
    keyword = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("context", keyword, annotation=typer.Context),
            *(single.replace(kind=keyword) for parameter in own for single in _spread(parameter)),
            *(inspect.Parameter(name, keyword, default=value, annotation=kind) for name, kind, value in shared),
        ]
    )
    return run


def _spread(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """The options that a parameter stands for."""
    record = parameter.annotation
    if not is_dataclass(record):
        return [parameter]
    hints = get_type_hints(record, include_extras=True)
    return [
        inspect.Parameter(field.name, parameter.kind, default=field.default, annotation=hints[field.name])
        for field in fields(record)
    ]


def _folded(parameters: list[inspect.Parameter], values: dict[str, Any]) -> dict[str, Any]:
    """The values of single options, put into the records that the function wants."""
    found: dict[str, Any] = {}
    for parameter in parameters:
        given = {single.name: values[single.name] for single in _spread(parameter)}
        is_record = is_dataclass(parameter.annotation)
        found[parameter.name] = parameter.annotation(**given) if is_record else given[parameter.name]
    return found


def _session(context: typer.Context, chosen: dict[str, Any]) -> Session:
    """The session that the program's options began, with what the command's options add."""
    session = context.obj if isinstance(context.obj, Session) else Session()
    if output := chosen.get("output"):
        session.screen = Screen(output)
    # The environment was read with the program's own options; here it would win over what stands on the command line.
    source = context.get_parameter_source("socket")
    if source is not None and source.name == "COMMANDLINE":
        session.socket_path = chosen["socket"]
    session.standalone = bool(chosen.get("standalone"))
    session.config = chosen.get("config") or session.config
    return session


def _epilog(page: Page) -> str:
    """The end of a help page. The mark before each block keeps its lines as they are."""
    examples = "\n".join(f"  {example}" for example in page.examples)
    codes = "\n".join(f"  {code:<4}{EXIT_CODES[code]}" for code in page.exits)
    return f"\b\nExamples:\n{examples}\n\n\b\nExit codes:\n{codes}"


def names(values: list[str] | None) -> list[str] | None:
    r"""The names in ``A,B`` and repeated options; ``\,`` is a comma within a name. None where none is given."""
    if not values:
        return None
    found: list[str] = []
    for value in values:
        parts = value.replace("\\,", "\0").split(",")
        found += [part.replace("\0", ",") for part in parts if part]
    return found or None
