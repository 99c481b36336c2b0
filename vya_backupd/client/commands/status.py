"""``status``, ``health`` and ``metrics``: how the daemon is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vya_backupd.client import outcome, shown, watching
from vya_backupd.client.command import command
from vya_backupd.client.session import Session


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    command(
        app,
        "status",
        examples=("vyactl status", "vyactl status --watch", "vyactl status --last-backup", "vyactl -o json status"),
    )(status)
    command(app, "health", examples=("vyactl health", "vyactl health >/dev/null || echo look at it"))(health)
    command(app, "metrics", examples=("vyactl metrics", "vyactl metrics --openmetrics"))(metrics)


def status(
    session: Session,
    last_backup: Annotated[
        bool, typer.Option("--last-backup", help="The newest backup of each database instead.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every two seconds, until Ctrl-C.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="A line for each server, however many there are.")] = False,
) -> int:
    """Show what is protected and since when, what is not, what runs now, and what comes next.

    The first line says it all: PROTECTED, WAITING for first backups, or DEGRADED and why. Each server has a line: how
    many of its databases have a backup that is young enough, the age of the oldest of them, the limit, what is known of
    the backups, and when the next one begins. Lines that begin with an exclamation mark want somebody to look.
    """
    with session.daemon() as client:
        if last_backup:
            return _last_backups(session, client.get("/v1/backups", {"newest": 1})["backups"])
        if watch:
            return watching.watch(session.screen, lambda: client.get("/v1/status"), everything=everything)
        record = client.get("/v1/status")
    if session.screen.is_json:
        session.screen.json(record)
    else:
        watching.show(session.screen, record, everything=everything)
    return 0


def _last_backups(session: Session, backups: list[dict[str, Any]]) -> int:
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for backup in sorted(backups, key=lambda item: str(item["taken_at"])):
        newest[backup["instance"], backup["database"]] = backup
    chosen = [newest[key] for key in sorted(newest)]
    if session.screen.is_json:
        session.screen.json({"backups": chosen})
    elif chosen:
        outcome.backups_table(session.screen, chosen)
    else:
        session.screen.say("no backups")
    return 0


def health(session: Session) -> int:
    """Say whether the daemon meets its objectives; exit code 1 with the reasons when it does not."""
    with session.daemon() as client:
        healthy, record = client.health()
    if session.screen.is_json:
        session.screen.json(record)
    else:
        session.screen.answer(str(record.get("status", "healthy" if healthy else "degraded")))
        for reason in record.get("reasons") or []:
            session.screen.say(outcome.details(reason) if isinstance(reason, dict) else shown.plain(reason))
    return 0 if healthy else 1


def metrics(
    session: Session,
    openmetrics: Annotated[bool, typer.Option("--openmetrics", help="In the OpenMetrics format.")] = False,
) -> int:
    """Print the daemon's metrics, as Prometheus would read them."""
    accept = "application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain"
    with session.daemon() as client:
        text, content_type = client.text("/v1/metrics", accept=accept)
    if session.screen.is_json:
        session.screen.json({"content_type": content_type, "metrics": text})
    else:
        session.screen.answer(text.rstrip("\n"))
    return 0
