"""``backup``: dump databases now, or list what would be."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vya_backupd.client import shown
from vya_backupd.client.command import command, names
from vya_backupd.client.session import Session
from vya_backupd.client.transport import PATIENT_SECONDS, ControlClient
from vya_backupd.client.watch import submit
from vya_backupd.errors import UsageError, VyaError

InstanceNames = Annotated[
    list[str] | None,
    typer.Option("--instance", "-i", metavar="ID", help="Only this instance; several as A,B or by repeating it."),
]
DatabaseNames = Annotated[
    list[str] | None,
    typer.Option(
        "--database",
        "-d",
        metavar="NAME",
        help=r"Only this database; several as A,B or by repeating it. A comma within a name is written '\,'.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(
        app,
        "backup",
        examples=(
            "vyactl backup    # every database of every instance, and their users",
            "vyactl backup --instance prod-pg --database shop,crm",
            "vyactl backup --parallel --workers 4 --compression 9",
            "vyactl backup --list-databases",
            "vyactl backup --standalone --config /etc/vya_backupdb/config.yaml",
        ),
        exits=(3, 4, 6, 78, 130),
        standalone=True,
    )(backup)


def backup(
    session: Session,
    instance: InstanceNames = None,
    database: DatabaseNames = None,
    parallel: Annotated[
        bool, typer.Option("--parallel", help="Dump several databases of an instance at once, not one after the other.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Databases dumped at once over all instances.")
    ] = None,
    compression: Annotated[
        int | None, typer.Option("--compression", min=1, max=9, help="Compression level, 1 fast to 9 small.")
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option("--codec", metavar="gzip|zstd", help="What the files are compressed with, not as configured."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Connect, probe and say what would be dumped; write nothing.")
    ] = False,
    list_databases: Annotated[
        bool, typer.Option("--list-databases", help="List the databases of the servers, and whether they are covered.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what each step found: tools, tables, warnings.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Submit, print the operation's id and leave; progress is not shown.")
    ] = False,
) -> int:
    """Back up databases now.

    Without options every covered database of every enabled instance is dumped, one after the other within an instance,
    and each instance's users, roles and grants as a backup of their own. Each database becomes one file that is
    published only when it is whole. The client shows progress and ends with the operation; leaving it with Ctrl-C
    leaves the operation running.
    """
    if list_databases:
        return _list(session, names(instance))
    if no_wait and session.standalone:
        raise UsageError("--no-wait needs a daemon that goes on", hint="Leave out --no-wait or --standalone.")
    request: dict[str, Any] = {
        "instances": names(instance),
        "databases": names(database),
        "parallel": parallel,
        "workers": workers,
        "compression_level": compression,
        "codec": codec,
        "dry_run": dry_run,
        "globals": True,
    }
    with session.daemon() as client:
        return submit(session, client, "backup", request, wait=not no_wait, verbose=verbose or dry_run)


def _list(session: Session, instances: list[str] | None) -> int:
    """The databases of some or all instances. A server that does not answer is an error line, not the end."""
    with session.daemon() as client:
        wanted: list[str | None] = [*instances] if instances else [None]
        found = [record for chosen in wanted for record in _databases(client, chosen)]
    failed = [record for record in found if record.get("error")]
    if session.screen.is_json:
        session.screen.json({"databases": found})
    else:
        rows = [
            (
                item.get("instance"),
                item.get("database"),
                shown.yes_no(item.get("covered")),
                shown.size(item.get("size_bytes")),
            )
            for item in found
            if not item.get("error")
        ]
        session.screen.table(("INSTANCE", "DATABASE", "COVERED", "SIZE"), rows, right=("SIZE",))
    for record in failed:
        error = VyaError.from_json(record["error"])
        session.screen.say(f"error: {shown.plain(record.get('instance'))}: {shown.paragraphs(error.message)}")
    return 0 if not failed else 3 if len(failed) < len(found) else 1


def _databases(client: ControlClient, instance: str | None) -> list[dict[str, Any]]:
    answer = client.get("/v1/databases", {"instance": instance}, timeout=PATIENT_SECONDS)
    return list(answer["databases"])
