"""``retention``: which backups stay and which expire, and why; and letting them go."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vya_backupd.client import shown
from vya_backupd.client.command import command
from vya_backupd.client.session import Session
from vya_backupd.client.transport import ControlClient
from vya_backupd.client.watch import submit
from vya_backupd.errors import UsageError

Instance = Annotated[str | None, typer.Option("--instance", "-i", metavar="ID", help="Only of this instance.")]
Database = Annotated[str | None, typer.Option("--database", "-d", metavar="NAME", help="Only of this database.")]


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    group = typer.Typer(rich_markup_mode=None)
    app.add_typer(group, name="retention", help="Show and apply the rules by which backups expire.")
    command(
        group,
        "plan",
        examples=("vyactl retention plan", "vyactl retention plan --instance prod-pg --database shop"),
        exits=(4,),
        standalone=True,
    )(plan)
    command(
        group,
        "apply",
        examples=("vyactl retention apply", "vyactl retention apply --instance prod-pg --yes"),
        exits=(3, 4, 5, 130),
        standalone=True,
    )(apply)


def plan(session: Session, instance: Instance = None, database: Database = None) -> int:
    """Show for each backup whether it stays or expires, with every reason. Nothing is deleted.

    The rules are storage.retention of the configuration, or an instance's own in the credentials file. Only complete
    backups count, each database by itself, by the time of the snapshot. Held backups, those that a restore or a
    verification reads or waits for, the newest complete one of each database, and other hosts' files always stay.
    """
    with session.daemon() as client:
        record = _plan(client, instance, database)
    if session.screen.is_json:
        session.screen.json(record)
        return 0
    _table(session, record["backups"])
    session.screen.say(_summary(record))
    return 0


def apply(
    session: Session,
    instance: Instance = None,
    database: Database = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Delete the backups that expire by the rules, as 'retention plan' shows them.

    The daemon does this by itself after each backup and once a day. Asks before it deletes, unless --yes; without a
    terminal it needs --yes. While storage.retention.cleanup_enabled is false, nothing is deleted.
    """
    if not yes:
        session.require_terminal("deleting backups needs a confirmation", "Add --yes when it is surely meant.")
    with session.daemon() as client:
        if not yes:
            _confirm(session, _plan(client, instance, database))
        request: dict[str, Any] = {"instances": [instance] if instance else None, "database": database}
        return submit(session, client, "prune", request, verbose=True)


def _plan(client: ControlClient, instance: str | None, database: str | None) -> dict[str, Any]:
    return dict(client.get("/v1/retention/plan", {"instance": instance, "database": database}))


def _confirm(session: Session, record: dict[str, Any]) -> None:
    """Show what would go, and ask. Raises UsageError when the answer is no."""
    expiring = [backup for backup in record["backups"] if not backup["keep"]]
    _table(session, expiring, aside=True)
    session.screen.say(_summary(record))
    if not expiring or not record["cleanup_enabled"]:
        return
    question = f"Delete {shown.count(len(expiring), 'backup')} for good? [y/N]"
    if session.ask(question).strip().lower() not in {"y", "yes"}:
        raise UsageError("not confirmed", code="confirmation_required", hint="Nothing was deleted.")


def _table(session: Session, backups: list[dict[str, Any]], *, aside: bool = False) -> None:
    show = session.screen.table_aside if aside else session.screen.table
    rows = [
        (
            "keep" if backup["keep"] else "expire",
            backup["instance"],
            "(globals)" if backup["type"] == "globals" else backup["database"],
            shown.moment(backup["taken_at"]),
            shown.size(backup["size_bytes"]),
            backup["id"],
            "; ".join(backup["reasons"]),
        )
        for backup in backups
    ]
    show(("VERDICT", "INSTANCE", "DATABASE", "TAKEN AT", "SIZE", "ID", "REASONS"), rows, right=("SIZE",))


def _summary(record: dict[str, Any]) -> str:
    totals = record["totals"]
    text = (
        f"{shown.count(totals['kept'], 'backup')} of {shown.size(totals['kept_bytes'])} stay, "
        f"{totals['expired']} of {shown.size(totals['expired_bytes'])} expire"
    )
    return text if record["cleanup_enabled"] else f"{text}; cleanup_enabled is false, so nothing is deleted"
