"""The tables, in the words of SQLAlchemy Core. Migrations under ``migrations/`` make them.

Times are whole microseconds since 1970 UTC in a BIGINT: they order and compare alike in every database, and come back
exactly as they went in. JSON is kept as text.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

REVISION = "0003"
"""The newest migration: what a catalog must be at to be used without one."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware datetime as microseconds since 1970. A naive one is refused: nobody could say when it was."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Into the database."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Out of the database, in UTC."""
        return None if value is None else _EPOCH + value * _MICROSECOND


metadata = sa.MetaData()

SOUGHT_EVENTS = ("operation.finished", "backup.published", "backup.expired", "backup.deleted", "backup.vanished")
"""Names of events that are looked for among all others."""
_SOUGHT = sa.text(f"name IN ({', '.join(map(repr, SOUGHT_EVENTS))})")

backups = sa.Table(
    "backups",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("path", sa.String, nullable=False, unique=True),
    sa.Column("hostname", sa.String, nullable=False),
    sa.Column("instance", sa.String, nullable=False),
    sa.Column("database", sa.String, nullable=False),
    sa.Column("engine", sa.String, nullable=False),
    sa.Column("type", sa.String, nullable=False),
    sa.Column("taken_at", Moment, nullable=False),
    sa.Column("finished_at", Moment, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("raw_size_bytes", sa.BigInteger, nullable=False),
    sa.Column("proof", sa.String, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False),
    sa.Column("verified_at", Moment),
    sa.Column("held_until", Moment),
    sa.Column("run", sa.String),
    sa.Column("read_at", Moment, nullable=False),
    sa.Column("previous_raw_size_bytes", sa.BigInteger),
    sa.Index("backups_by_age", "taken_at", "id"),
    sa.Index("backups_of_instance", "instance", "taken_at", "id"),
    sa.Index("backups_of_database", "instance", "database", "taken_at", "id"),
    sa.Index("backups_by_verification", "verified_at"),
    sa.Index("backups_by_reading", "read_at", "id"),
)
"""``read_at``: when the file was last known to be whole: its last verification, or its end.

``previous_raw_size_bytes``: of the dump before it, as far as that was listed when this one was entered: what a backup is
compared with where retention keeps a single one.
"""

manifests = sa.Table(
    "manifests",
    metadata,
    sa.Column("backup_id", sa.String, sa.ForeignKey("backups.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("manifest", sa.Text, nullable=False),
)
"""What is long of a backup, apart: a sum over all backups reads a tenth of the pages that it would otherwise."""

deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("backup_id", sa.String, primary_key=True),
    sa.Column("event", sa.Text, nullable=False),
)
"""Backups whose deletion was begun, each with the event that is to report its end: what a crash may have cut short."""

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("submitted_at", Moment, nullable=False),
    sa.Column("submitted_by", sa.String, nullable=False),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    sa.Column("error", sa.Text),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("key", sa.String),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.UniqueConstraint("key", "attempt", name="operations_slot"),
    sa.Index("operations_by_age", "submitted_at", "id"),
    sa.Index("operations_in_state", "state", "submitted_at", "id"),
)

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("operation_id", sa.String, sa.ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("instance", sa.String, nullable=False),
    sa.Column("database", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("backup_id", sa.String),
    sa.Column("error", sa.Text),
    sa.Column("detail", sa.Text, nullable=False),
    sa.UniqueConstraint("operation_id", "instance", "database", name="steps_once"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("operation_id", sa.String),
    sa.Column("instance", sa.String),
    sa.Column("database", sa.String),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Index("events_of_operation", "operation_id", "id"),
    sa.Index("events_by_name", "name", "id", sqlite_where=_SOUGHT),  # naming PostgreSQL here would load its dialect
    sqlite_autoincrement=True,
)
"""Everything that happened. Those that are looked for by name, years later, have an index of their own."""

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("labels", sa.String, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""Single facts of the catalog itself. ``indexed``: the backups were read from the store, at least once, to the end."""

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("instance", sa.String, primary_key=True),
    sa.Column("last_slot", Moment),
    sa.Column("paused_at", Moment),
    sa.Column("paused_by", sa.String),
    sa.Column("paused_until", Moment),
    sa.Column("note", sa.String, nullable=False),
)
"""How far the schedule of each instance has come, and who paused it. ``*`` is the pause of all."""

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("topic", sa.String, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("ended_at", Moment),
    sa.Index("outbox_due", "state", "due_at", "id"),
    sqlite_autoincrement=True,
)
"""What is to be told to the world, until it was told or given up."""
