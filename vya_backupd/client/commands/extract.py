"""``extract``: single tables of a backup as plain SQL on stdout."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vya_backupd.client.command import command, names
from vya_backupd.client.commands.restore import Database, FilePath, Instance, Moment, Tables, check, iso
from vya_backupd.client.session import Session
from vya_backupd.errors import UsageError

SchemaOnly = Annotated[bool, typer.Option("--schema-only", help="The table without its rows.")]
DataOnly = Annotated[bool, typer.Option("--data-only", help="The rows alone.")]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(
        app,
        "extract",
        examples=(
            "vyactl extract --instance prod-pg --database shop --latest --table public.orders > orders.sql",
            "vyactl extract --backup ID --table orders,items --schema-only",
            "vyactl extract --file /srv/backups/shop.sql.gz --table orders --data-only | gzip > rows.sql.gz",
        ),
        exits=(4, 5, 78),
        standalone=True,
        form=False,
    )(extract)


def extract(
    session: Session,
    instance: Instance = None,
    database: Database = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest backup of the database.")] = False,
    moment: Moment = None,
    file: FilePath = None,
    backup: Annotated[str | None, typer.Option("--backup", metavar="ID", help="The backup with this id.")] = None,
    tables: Tables = None,
    schema_only: SchemaOnly = False,
    data_only: DataOnly = False,
    no_indexes: Annotated[
        bool, typer.Option("--no-indexes", help="PostgreSQL: without indexes, keys and foreign keys.")
    ] = False,
) -> int:
    """Write the SQL of single tables of a backup to stdout.

    The text is a dump of its own, with the session settings of the whole one: psql or mysql loads it. Of the file only
    the parts that are needed are read; they are verified before the first line is written. A table comes with
    everything that belongs to it: partitions, sequences of its columns, indexes, keys, triggers, rights, comments.
    """
    request: dict[str, Any] = {
        "instance": instance,
        "database": database,
        "latest": latest,
        "datetime": iso(moment),
        "file": str(Path(file).absolute()) if file else None,
        "backup_id": backup,
        "tables": names(tables),
        "schema_only": schema_only,
        "data_only": data_only,
        "no_indexes": no_indexes,
    }
    check({**request, "all": False, "globals": False})
    if not request["tables"]:
        raise UsageError("nothing says which table is meant", hint="Name it with --table.")
    with session.daemon() as client:
        try:
            for piece in client.stream("/v1/extract", request):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Whoever reads has seen enough. What Python would flush at its end must not complain either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
