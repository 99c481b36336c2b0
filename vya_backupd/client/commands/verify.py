"""``verify``: re-read backup files and prove them whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vya_backupd.client.command import command
from vya_backupd.client.commands.restore_options import Database, Instance
from vya_backupd.client.session import Session
from vya_backupd.client.watch import submit
from vya_backupd.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(
        app,
        "verify",
        examples=(
            "vyactl verify --instance prod-pg --database shop --latest",
            "vyactl verify --instance prod-pg --all",
            "vyactl verify --file /var/backups/vya_backupdb/site/prod-pg/shop/2026-01-09/shop_20260109_020000_full.sql.gz",
        ),
        exits=(3, 4, 5, 130),
        standalone=True,
    )(verify)


def verify(
    session: Session,
    file: Annotated[str | None, typer.Option("--file", "-f", metavar="PATH", help="Verify this file.")] = None,
    backup: Annotated[
        str | None, typer.Option("--backup", metavar="ID", help="Verify the backup with this id.")
    ] = None,
    instance: Instance = None,
    database: Database = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="The newest backup of each database. This is the default.")
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every backup, not only the newest.")] = False,
) -> int:
    """Re-read backup files and prove them whole.

    Checksum, every compressed member, labels, end marker and manifest are checked, and the manifest is marked as
    verified. A damaged file gives exit code 5 and the place of the first damage. No database server is needed.
    """
    if sum(map(bool, (file, backup, instance))) != 1:
        raise UsageError("verify needs one of --file, --backup and --instance", hint="Name one of them.")
    if not instance and (database or latest or all_):
        raise UsageError("--file and --backup go alone", hint="Leave out --database, --latest and --all.")
    if latest and all_:
        raise UsageError("--latest and --all exclude each other", hint="Give one of them.")
    request: dict[str, Any] = {
        "file": str(Path(file).absolute()) if file else None,
        "backup_id": backup,
        "instance": instance,
        "database": database,
        "latest": bool(instance) and not all_,
        "all": all_,
    }
    with session.daemon() as client:
        return submit(session, client, "verify", request)
