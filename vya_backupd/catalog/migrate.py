"""Bringing a catalog to the tables of this release."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from vya_backupd.catalog import tables
from vya_backupd.errors import StorageError

_MIGRATIONS = Path(__file__).parent / "migrations"


def current_revision(connection: sa.Connection) -> str | None:
    """The revision that the database is at; None for an empty one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(connection: sa.Connection) -> None:
    """Run the migrations that are missing. Alembic is loaded only when there are any, for the sake of a quick start.

    Raises:
        StorageError: the catalog is of a later release.
    """
    now = current_revision(connection)
    if now == tables.REVISION:
        return
    if now is not None and now > tables.REVISION:
        raise StorageError(
            f"the catalog is at revision {now}, and this release knows {tables.REVISION}: a later release wrote it",
            hint="Install that release again, or move the catalog's file away and run `vyactl catalog rebuild`.",
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
