"""Schedules, the outbox; when each backup was last verified, and until when it is held."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def upgrade() -> None:
    """Add what work without a person needs."""
    op.add_column("backups", sa.Column("verified_at", sa.BigInteger))
    op.add_column("backups", sa.Column("held_until", sa.BigInteger))
    op.add_column("backups", sa.Column("run", sa.String))
    op.create_index("backups_by_verification", "backups", ["verified_at", "id"])
    _fill(op.get_bind())
    op.create_table(
        "schedules",
        sa.Column("instance", sa.String, primary_key=True),
        sa.Column("last_slot", sa.BigInteger),
        sa.Column("paused_at", sa.BigInteger),
        sa.Column("paused_by", sa.String),
        sa.Column("paused_until", sa.BigInteger),
        sa.Column("note", sa.String, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("topic", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("ended_at", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_due", "outbox", ["state", "due_at", "id"])


def _fill(connection: sa.Connection) -> None:
    """Take the new columns of backups that are listed already from their manifests."""
    for backup_id, text in connection.execute(sa.text("SELECT id, manifest FROM backups")).all():
        manifest = json.loads(text)
        values = {
            "id": backup_id,
            "verified_at": _micros(manifest.get("verified_at")),
            "held_until": _micros((manifest.get("hold") or {}).get("until")),
        }
        connection.execute(
            sa.text("UPDATE backups SET verified_at = :verified_at, held_until = :held_until WHERE id = :id"), values
        )


def _micros(text: str | None) -> int | None:
    return None if text is None else (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
