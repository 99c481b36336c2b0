"""Migrations of the catalog, run by Alembic when the daemon starts."""
