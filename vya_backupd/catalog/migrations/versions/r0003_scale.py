"""Manifests in a table of their own; deletions that were begun; an index of the events that are looked for by name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SOUGHT = "name IN ('operation.finished', 'backup.published', 'backup.expired', 'backup.deleted', 'backup.vanished')"
_INDEXES = {
    "backups_by_age": ["taken_at", "id"],
    "backups_of_instance": ["instance", "taken_at", "id"],
    "backups_of_database": ["instance", "database", "taken_at", "id"],
    "backups_by_verification": ["verified_at"],
    "backups_by_reading": ["read_at", "id"],
}


_BEFORE = ("backups_by_age", "backups_of_instance", "backups_of_database", "backups_by_verification")


def upgrade() -> None:
    """Move the manifests out of the way of sums, and add what is new."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild()
    else:
        _make_manifests("backups")
        op.drop_column("backups", "manifest")
        op.add_column("backups", sa.Column("read_at", sa.BigInteger))
        op.execute("UPDATE backups SET read_at = coalesce(verified_at, finished_at)")
        op.alter_column("backups", "read_at", nullable=False)
        op.add_column("backups", sa.Column("previous_raw_size_bytes", sa.BigInteger))
        op.drop_index("backups_by_verification", "backups")
        for name in ("backups_by_verification", "backups_by_reading"):
            op.create_index(name, "backups", _INDEXES[name])
    op.create_table(
        "deletions",
        sa.Column("backup_id", sa.String, primary_key=True),
        sa.Column("event", sa.Text, nullable=False),
    )
    sought = sa.text(_SOUGHT)
    op.create_index("events_by_name", "events", ["name", "id"], sqlite_where=sought, postgresql_where=sought)


def _rebuild() -> None:
    """SQLite would leave the gaps of a dropped column where they are: the table is written anew."""
    for name in _BEFORE:
        op.drop_index(name, "backups")
    op.rename_table("backups", "backups_before")
    op.create_table(
        "backups",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("path", sa.String, nullable=False, unique=True),
        sa.Column("hostname", sa.String, nullable=False),
        sa.Column("instance", sa.String, nullable=False),
        sa.Column("database", sa.String, nullable=False),
        sa.Column("engine", sa.String, nullable=False),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("raw_size_bytes", sa.BigInteger, nullable=False),
        sa.Column("proof", sa.String, nullable=False),
        sa.Column("held", sa.Boolean, nullable=False),
        sa.Column("verified_at", sa.BigInteger),
        sa.Column("held_until", sa.BigInteger),
        sa.Column("run", sa.String),
        sa.Column("read_at", sa.BigInteger, nullable=False),
        sa.Column("previous_raw_size_bytes", sa.BigInteger),
    )
    kept = (
        "id, path, hostname, instance, database, engine, type, taken_at, finished_at, size_bytes, raw_size_bytes, "
        "proof, held, verified_at, held_until, run"
    )
    read = "coalesce(verified_at, finished_at)"
    op.execute(f"INSERT INTO backups ({kept}, read_at) SELECT {kept}, {read} FROM backups_before")  # noqa: S608 - nobody's words
    for name, columns in _INDEXES.items():
        op.create_index(name, "backups", columns)
    _make_manifests("backups_before")
    op.drop_table("backups_before")


def _make_manifests(source: str) -> None:
    op.create_table(
        "manifests",
        sa.Column("backup_id", sa.String, sa.ForeignKey("backups.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("manifest", sa.Text, nullable=False),
    )
    op.execute(f"INSERT INTO manifests SELECT id, manifest FROM {source}")  # noqa: S608 - nobody's words
