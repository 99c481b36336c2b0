"""``throttle``: how fast bytes may flow from and to servers, and changing that while work runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vya_backupd.client import shown
from vya_backupd.client.command import command
from vya_backupd.client.session import Session

Instance = Annotated[
    str | None, typer.Option("--instance", "-i", metavar="ID", help="The limit of this instance, not that of all.")
]
Restore = Annotated[bool, typer.Option("--restore", help="The limit of restores, not that of backups.")]


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    group = typer.Typer(rich_markup_mode=None)
    app.add_typer(group, name="throttle", help="Show and set limits of bytes per second.")
    command(group, "show", examples=("vyactl throttle show",))(show)
    command(
        group,
        "set",
        examples=(
            "vyactl throttle set 20MB --for 2h",
            'vyactl throttle set 500k --instance prod-pg --until "2026-01-10 18:00"',
            "vyactl throttle set none --instance prod-pg --restore",
        ),
        exits=(4,),
    )(set_rate)
    command(group, "reset", examples=("vyactl throttle reset", "vyactl throttle reset --instance prod-pg"), exits=(4,))(
        reset
    )


def show(session: Session) -> int:
    """Show the limits of bytes per second that hold now, and where each comes from.

    A limit is that of all instances together, or of one of them; both hold. It is counted in bytes of plain dump text:
    what is read from a server, or fed to it.
    """
    with session.daemon() as client:
        _show(session, client.get("/v1/throttle"))
    return 0


def set_rate(
    session: Session,
    rate: Annotated[
        str, typer.Argument(metavar="RATE", help="Bytes per second: 20MB, 500k, 16MiB; none for no limit.")
    ],
    instance: Instance = None,
    restore: Restore = False,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="T", help="When it ends by itself, in the configured time zone or as said."),
    ] = None,
    span: Annotated[str | None, typer.Option("--for", metavar="TIME", help="For how long: 90m, 2h, 1d.")] = None,
) -> int:
    """Set a limit of bytes per second, in place of the configured one and of a blackout's.

    It holds at once, also for work that runs, and survives restarts of the daemon. Without --until or --for it stays
    until it is reset.
    """
    body = {"rate": rate, "instance": instance, "flow": _flow(restore=restore), "until": until, "for": span}
    with session.daemon() as client:
        _show(session, client.post("/v1/throttle/set", body))
    return 0


def reset(session: Session, instance: Instance = None, restore: Restore = False) -> int:
    """Take a limit back that was set by hand: what is configured holds again."""
    body = {"instance": instance, "flow": _flow(restore=restore)}
    with session.daemon() as client:
        _show(session, client.post("/v1/throttle/reset", body))
    return 0


def _flow(*, restore: bool) -> str:
    return "restore" if restore else "dump"


def _show(session: Session, record: dict[str, Any]) -> None:
    if session.screen.is_json:
        session.screen.json(record)
        return
    rows = [
        (each["instance"] or "(all together)", each["flow"], _rate(each["bytes_per_second"]), _why(each))
        for each in record["limits"]
        if each["instance"] is None or each["bytes_per_second"] is not None or each["configured"] is not None
    ]
    session.screen.table(("INSTANCE", "FLOW", "LIMIT", "WHY"), rows, right=("LIMIT",))
    if record["nice"] or record["io_priority"] is not None:
        disk = "" if record["io_priority"] is None else f", disk priority {record['io_priority']}"
        session.screen.say(f"tools run with niceness {record['nice']}{disk}")


def _rate(rate: int | None) -> str:
    return "-" if rate is None else f"{shown.size(rate)}/s"


def _why(each: dict[str, Any]) -> str:
    until = f" until {shown.moment(each['until'])}" if each["until"] else ""
    return f"{each['reason']}{until}"
