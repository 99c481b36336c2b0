"""``restore --interactive``: numbered lists and plain questions, so that a script on a pseudo-terminal can answer too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vya_backupd.client import shown
from vya_backupd.client.commands.backups import listed
from vya_backupd.client.session import Session
from vya_backupd.client.transport import ControlClient
from vya_backupd.errors import NotFoundError


def choose(session: Session, client: ControlClient, request: dict[str, Any]) -> None:
    """Fill the request with the backup and target that the person picks.

    Raises:
        NotFoundError: there is no backup to choose from.
        UsageError: the input ended.
    """
    backups = [each for page in listed(client, request["instance"], request["database"]) for each in page]
    if not backups:
        raise NotFoundError("there is no backup to restore", hint="Run vyactl restore --list to see what there is.")
    instance = pick(session, "Instance", sorted({str(item["instance"]) for item in backups}))
    backups = [item for item in backups if item["instance"] == instance]
    database = pick(session, "Database", sorted({str(item["database"]) for item in backups}))
    backups = sorted(
        (item for item in backups if item["database"] == database), key=lambda item: str(item["taken_at"]), reverse=True
    )
    labels = [_label(item) for item in backups]
    chosen = backups[labels.index(pick(session, "Backup", labels))]
    targets = [instance, *(name for name in _instances(client) if name != instance)]
    request.update(
        {
            "instance": None,
            "database": None,
            "backup_id": chosen["id"],
            "latest": False,
            "datetime": None,
            "target_instance": request["target_instance"] or pick(session, "Restore to instance", targets),
            "target_database": request["target_database"] or _name(session, database),
        }
    )


def pick(session: Session, title: str, choices: Sequence[str]) -> str:
    """One of the choices, by number; a single one is taken without asking. Raises UsageError when the input ends."""
    if len(choices) == 1:
        session.screen.say(f"{title}: {shown.plain(choices[0])}")
        return choices[0]
    session.screen.say(f"{title}:")
    for number, choice in enumerate(choices, 1):
        session.screen.say(f"  {number:>3}  {shown.plain(choice)}")
    while True:
        answer = session.ask(f"Number, 1-{len(choices)} [1]:").strip() or "1"
        if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(choices):
            return choices[int(answer) - 1]
        session.screen.say(f"{shown.plain(answer)} is not in the list.")


def _name(session: Session, default: str) -> str:
    return session.ask(f"Restore as database [{shown.plain(default)}]:") or default


def _label(backup: dict[str, Any]) -> str:
    return (
        f"{shown.moment(backup['taken_at'])}  {shown.size(backup['size_bytes'])}  {backup.get('proof')}  {backup['id']}"
    )


def _instances(client: ControlClient) -> list[str]:
    """The ids of the configured instances, as the status names them."""
    status = client.get("/v1/status")
    return sorted(str(item["id"] if isinstance(item, dict) else item) for item in status.get("instances") or [])
