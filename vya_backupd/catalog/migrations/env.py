"""What Alembic runs: the migrations, over the connection that the catalog hands in."""

from __future__ import annotations

from alembic import context

from vya_backupd.catalog.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters tables by copying them
)
with context.begin_transaction():
    context.run_migrations()
