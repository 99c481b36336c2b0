"""``backups``: what lies in the store, and what must stay there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from vya_backupd.client import outcome, shown
from vya_backupd.client.command import command
from vya_backupd.client.session import Session
from vya_backupd.client.transport import ControlClient, segment
from vya_backupd.errors import UsageError

_OBJECTS_SHOWN = 30
BackupId = Annotated[str, typer.Argument(metavar="ID", help="The backup's id, as 'backups list' shows it.")]


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    group = typer.Typer(rich_markup_mode=None)
    app.add_typer(group, name="backups", help="List, show, hold, release and delete backups.")
    command(
        group,
        "list",
        examples=("vyactl backups list", "vyactl backups list --instance prod-pg --database shop --limit 5"),
        exits=(4,),
    )(list_backups)
    command(group, "show", examples=("vyactl backups show ID", "vyactl -o json backups show ID"), exits=(4,))(show)
    command(
        group,
        "hold",
        examples=(
            'vyactl backups hold ID --note "audit 2026"',
            'vyactl backups hold ID --note "lawsuit" --until 2027-01-01',
        ),
        exits=(4,),
    )(hold)
    command(group, "release", examples=("vyactl backups release ID",), exits=(4,))(release)
    command(group, "delete", examples=("vyactl backups delete ID", "vyactl backups delete ID --yes"), exits=(4, 6))(
        delete
    )


def list_backups(
    session: Session,
    instance: Annotated[
        str | None, typer.Option("--instance", "-i", metavar="ID", help="Only of this instance.")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", "-d", metavar="NAME", help="Only of this database.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many, the newest.")] = None,
) -> int:
    """List backups, the newest first.

    TAKEN AT is the time of the snapshot: the database's contents are those of that moment. PROOF says how much is
    known: 'complete' when it was published, 'verified' when it has been re-read, 'drilled' when it has been restored.
    """
    with session.daemon() as client:
        pages = listed(client, instance, database, limit)
        if session.screen.is_json:
            session.screen.json_list("backups", pages)
        elif not _print_pages(session, pages):
            session.screen.say("no backups")
    return 0


def listed(
    client: ControlClient, instance: str | None, database: str | None, limit: int | None = None
) -> Iterator[list[dict[str, Any]]]:
    """The backups that fit, the newest first, page by page. Raises VyaError as ``ControlClient.get``."""
    after, left = None, limit
    while left is None or left > 0:
        query = {"instance": instance, "database": database, "limit": left, "after": after}
        answer = client.get("/v1/backups", query)
        yield answer["backups"]
        after = answer.get("next")
        if after is None:
            return
        left = None if left is None else left - len(answer["backups"])


def _print_pages(session: Session, pages: Iterator[list[dict[str, Any]]]) -> int:
    """Print them as they come, under one line of titles. Returns how many backups that was."""
    count = 0
    for page in pages:
        outcome.backups_table(session.screen, page, titled=count == 0)
        count += len(page)
    return count


def show(session: Session, id_: BackupId) -> int:
    """Show everything about one backup: where it lies, what it holds, how it was made, what is known of it.

    OBJECTS are what can be taken out alone (restore --table, extract): tables with their sizes in the file and as text,
    the largest first. JSON has all of them, section by section.
    """
    with session.daemon() as client:
        record = client.get(f"/v1/backups/{segment(id_)}")
    _show(session, record)
    return 0


def hold(
    session: Session,
    id_: BackupId,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why it is kept; shown beside the backup.")],
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="The hold ends then. [default: never]")
    ] = None,
) -> int:
    """Hold a backup: neither retention nor 'backups delete' removes it until it is released or the time is reached.

    The hold is written beside the file and survives the loss of the catalog. A time without offset is local time of
    this machine.
    """
    with session.daemon() as client:
        record = client.post(f"/v1/backups/{segment(id_)}/hold", {"note": note, "until": _utc(until)})
    _done(session, record, f"{id_}: held")
    return 0


def release(session: Session, id_: BackupId) -> int:
    """Release a held backup: retention and 'backups delete' may remove it again."""
    with session.daemon() as client:
        record = client.post(f"/v1/backups/{segment(id_)}/release")
    _done(session, record, f"{id_}: released")
    return 0


def delete(
    session: Session,
    id_: BackupId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Delete a backup: data, checksum and manifest. A held backup is refused; release it first.

    Asks before it deletes, unless --yes; without a terminal it needs --yes.
    """
    if not yes:
        session.require_terminal("deleting a backup needs a confirmation", "Add --yes when it is surely meant.")
    with session.daemon() as client:
        if not yes:
            record = client.get(f"/v1/backups/{segment(id_)}")
            backup = record.get("backup", record)
            taken = f"{shown.place(backup.get('instance'), backup.get('database'))} of {shown.moment(backup.get('taken_at'))}"
            if session.ask(f"Delete the backup of {taken} for good? [y/N]").strip().lower() not in {"y", "yes"}:
                raise UsageError("not confirmed", code="confirmation_required", hint="Nothing was deleted.")
        answer = client.delete(f"/v1/backups/{segment(id_)}")
    _done(session, answer or {"deleted": id_}, f"{id_}: deleted")
    return 0


def _show(session: Session, record: dict[str, Any]) -> None:
    if session.screen.is_json:
        session.screen.json(record)
        return
    pairs: list[tuple[str, Any]] = []
    fields = {**record, **(record.get("backup") or {})}
    for key, value in fields.items():
        if key not in ("backup", "objects"):
            pairs += _pairs(key.replace("_", " "), key, value)
    session.screen.facts(pairs)
    _objects(session, fields.get("objects") or [])


def _objects(session: Session, objects: list[dict[str, Any]]) -> None:
    """The largest objects, and how many more there are."""
    rows = [
        (
            item.get("name"),
            shown.size(item.get("size_bytes")),
            shown.size(item.get("raw_size_bytes")),
            "-" if item.get("rows") is None else item["rows"],
            ", ".join(item.get("sections") or ()),
        )
        for item in objects[:_OBJECTS_SHOWN]
    ]
    if rows:
        session.screen.answer("")
        session.screen.table(("OBJECT", "SIZE", "RAW", "ROWS", "SECTIONS"), rows, right=("SIZE", "RAW", "ROWS"))
    if len(objects) > _OBJECTS_SHOWN:
        more = len(objects) - _OBJECTS_SHOWN
        session.screen.answer(f"and {shown.count(more, 'smaller object')}; --output json has all")


def _pairs(title: str, key: str, value: Any) -> list[tuple[str, Any]]:
    """A field as lines of text; nested records become ``outer inner`` lines, lists one line per entry."""
    if isinstance(value, dict):
        return [
            pair for inner, item in value.items() for pair in _pairs(f"{title} {inner.replace('_', ' ')}", inner, item)
        ]
    if key.endswith("size_bytes") and isinstance(value, int):
        return [(title.removesuffix(" bytes"), f"{shown.size(value)} ({value} bytes)")]
    if key == "duration_seconds":
        return [("duration", shown.duration(value))]
    if key.endswith("_at"):
        return [(title, shown.moment(value))]
    if isinstance(value, bool):
        return [(title, shown.yes_no(value))]
    if isinstance(value, list):
        return [(title, "\n".join(outcome.details(item) if isinstance(item, dict) else str(item) for item in value))]
    return [(title, value)]


def _done(session: Session, record: dict[str, Any], text: str) -> None:
    if session.screen.is_json:
        session.screen.json(record)
    else:
        session.screen.say(text)


def _utc(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except ValueError as error:
        raise UsageError(
            f"not a time: {text!r}", hint="Write it as 2027-01-01 or '2027-01-01 10:00:00+02:00'."
        ) from error
