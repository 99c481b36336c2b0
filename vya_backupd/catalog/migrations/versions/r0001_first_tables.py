"""Backups, operations with their steps, events, counters, marks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of the first release."""
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
        sa.Column("manifest", sa.Text, nullable=False),
    )
    op.create_index("backups_by_age", "backups", ["taken_at", "id"])
    op.create_index("backups_of_instance", "backups", ["instance", "taken_at", "id"])
    op.create_index("backups_of_database", "backups", ["instance", "database", "taken_at", "id"])

    op.create_table(
        "operations",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("submitted_at", sa.BigInteger, nullable=False),
        sa.Column("submitted_by", sa.String, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("key", sa.String),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.UniqueConstraint("key", "attempt", name="operations_slot"),
    )
    op.create_index("operations_by_age", "operations", ["submitted_at", "id"])
    op.create_index("operations_in_state", "operations", ["state", "submitted_at", "id"])

    op.create_table(
        "steps",
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

    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("operation_id", sa.String),
        sa.Column("instance", sa.String),
        sa.Column("database", sa.String),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_of_operation", "events", ["operation_id", "id"])

    op.create_table(
        "counters",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("labels", sa.String, primary_key=True),
        sa.Column("value", sa.Double, nullable=False),
    )

    op.create_table(
        "marks",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
