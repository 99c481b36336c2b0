"""``extract``: single tables of a backup as plain SQL on stdout."""

from __future__ import annotations

import os
import sys

import typer

from vya_backupd.client.command import command
from vya_backupd.client.commands.restore import check
from vya_backupd.client.commands.restore_options import FitOptions, SourceOptions, TableOptions
from vya_backupd.client.session import Session
from vya_backupd.errors import UsageError


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


def extract(session: Session, source: SourceOptions, table: TableOptions, fit: FitOptions) -> int:
    """Write the SQL of single tables of a backup to stdout.

    The text is a dump of its own, with the session settings of the whole one: psql or mysql loads it. Of the file only
    the parts that are needed are read; they are verified before the first line is written. A table comes with
    everything that belongs to it: partitions, sequences of its columns, indexes, keys, triggers, rights, comments.
    """
    request = source.request() | table.request() | fit.request()
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
