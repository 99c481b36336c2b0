"""``audit``: who did what, from where, with what result; and whether that record is whole."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from vya_backupd.client import shown
from vya_backupd.client.command import ConfigOption, command
from vya_backupd.client.session import DEFAULT_CONFIG, Session
from vya_backupd.client.transport import PATIENT_SECONDS
from vya_backupd.errors import IntegrityError, UsageError

_TITLES = ("NO", "TIME", "EVENT", "ACTOR", "FROM", "ABOUT", "RESULT")


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    group = typer.Typer(rich_markup_mode=None)
    app.add_typer(group, name="audit", help="Show who did what, and prove that the record is whole.")
    command(
        group,
        "show",
        examples=(
            "vyactl audit show",
            "vyactl audit show --since 2026-01-09 --kind 'backup.*'",
            "vyactl audit show --actor alice --limit 500",
        ),
        exits=(1,),
    )(show)
    command(
        group,
        "verify",
        examples=(
            "vyactl audit verify",
            "vyactl audit verify --file audit.log.2.gz --file audit.log.1 --file audit.log",
        ),
        exits=(5, 78),
    )(verify)


def show(
    session: Session,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Not before this time.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Not after this time.")] = None,
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="NAME", help="Only what this user did, or 'daemon', 'schedule'.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", metavar="NAME", help="Only these events (backup.deleted, 'request.*') or kinds of operation."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="The newest so many.")] = 50,
) -> int:
    """Show the newest entries of the audit, oldest first.

    Rotated files beside the audit file are read too. Encrypted entries are shown decrypted.
    """
    query = {"since": _utc(since), "until": _utc(until), "actor": actor, "kind": kind, "limit": limit}
    with session.daemon() as client:
        record = client.get("/v1/audit", query, timeout=PATIENT_SECONDS)
    if session.screen.is_json:
        session.screen.json(record)
    else:
        session.screen.table(_TITLES, [_row(entry) for entry in record["audit"]], right=("NO",))
    return 0


def _row(entry: dict[str, Any]) -> tuple[Any, ...]:
    origin = entry.get("from") or {}
    came = " ".join(str(part) for part in (origin.get("client"), origin.get("pid")) if part is not None)
    facts = entry.get("facts") or {}
    about = (
        shown.place(entry.get("instance"), entry.get("database")) or facts.get("request") or facts.get("path") or "-"
    )
    if isinstance(about, dict):
        about = ", ".join(f"{key} {value}" for key, value in about.items())
    result = " ".join(str(part) for part in (entry.get("result"), entry.get("error_code")) if part)
    event = " ".join(str(part) for part in (entry.get("event"), entry.get("kind")) if part)
    return (
        entry.get("seq"),
        shown.moment(entry.get("at")),
        event,
        entry.get("actor"),
        came or "-",
        shown.plain(about)[:60],
        result or "-",
    )


def verify(
    session: Session,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="PATH", help="Follow the chain through these files, without the daemon."),
    ] = None,
    config: ConfigOption = None,
) -> int:
    """Prove that no line of the audit was changed, removed, moved, put in or cut off.

    The daemon follows the chain through the audit file and the rotated ones beside it, and compares its end with the
    catalog. With --file nobody but this process reads, and only what the chain itself shows is found: lines that are
    missing at its end are not. Encrypted entries are also decrypted where the configuration leads to the key. Exit
    code 5 names file and line of each break.
    """
    if file:
        from vya_backupd.client import standalone

        record = standalone.verify_audit([Path(each) for each in file], config or DEFAULT_CONFIG)
    else:
        with session.daemon() as client:
            record = client.get("/v1/audit/verify", timeout=PATIENT_SECONDS)["audit"]
    if session.screen.is_json:
        session.screen.json({"audit": record})
    else:
        _tell(session, record)
    return 0 if record["ok"] else IntegrityError.exit_code


def _tell(session: Session, record: dict[str, Any]) -> None:
    for problem in record["problems"]:
        session.screen.answer(f"{shown.plain(problem['file'])}:{problem['line']}: {shown.plain(problem['message'])}")
    where = f"{shown.count(record['lines'], 'line')} in {shown.count(len(record['files']), 'file')}"
    span = f", numbers {record['first']} to {record['last']}" if record["lines"] else ""
    against = "the end is the one that the catalog knows" if record["compared_with_catalog"] else "the end is not known"
    verdict = f"whole; {against}" if record["ok"] else shown.count(len(record["problems"]), "break")
    session.screen.answer(f"{where}{span}: {verdict}")


def _utc(text: str | None) -> str | None:
    """A time as the daemon takes it; without an offset it is in this machine's time zone."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except ValueError:
        raise UsageError(f"{text!r} is not a time", hint='Write it like "2026-01-09 10:00:00".') from None
