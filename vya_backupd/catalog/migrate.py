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


def upgrade(connection: sa.Connection) -> bool:
    """Bring the database to this release's tables: an empty one gets them at once, an older one by its migrations.

    Both ways end alike, which a test holds. Alembic is loaded only where there is something to migrate: it takes a sixth
    of a second and ten megabytes. Returns whether there was something to migrate.

    Raises:
        StorageError: the catalog is of a later release.
    """
    now = current_revision(connection)
    if now == tables.REVISION:
        return False
    if now is not None and now > tables.REVISION:
        raise StorageError(
            f"the catalog is at revision {now}, and this release knows {tables.REVISION}: a later release wrote it",
            hint="Install that release again, or move the catalog's file away and run `vyactl catalog rebuild`.",
        )
    if now is None:
        _create(connection)
        return False
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True


def _create(connection: sa.Connection) -> None:
    """All tables as they are now, and the mark that Alembic would leave."""
    tables.metadata.create_all(connection)
    marks = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), nullable=False))
    marks.append_constraint(sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"))
    marks.create(connection)
    connection.execute(marks.insert().values(version_num=tables.REVISION))
