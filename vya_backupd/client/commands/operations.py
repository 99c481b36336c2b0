"""``operations``: what the daemon does and did; ``catalog rebuild``, which is one of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vya_backupd.client import outcome, shown
from vya_backupd.client.command import command
from vya_backupd.client.session import Session
from vya_backupd.client.transport import segment
from vya_backupd.client.watch import submit
from vya_backupd.client.watch import watch as stay
from vya_backupd.model.operation import State

OperationId = Annotated[str, typer.Argument(metavar="ID", help="The operation's id, as 'operations list' shows it.")]


def register(app: typer.Typer) -> None:
    """Add the groups to the program."""
    group = typer.Typer(rich_markup_mode=None)
    app.add_typer(group, name="operations", help="List, show, watch and cancel operations.")
    command(group, "list", examples=("vyactl operations list", "vyactl operations list --state failed --limit 50"))(
        list_operations
    )
    command(group, "show", examples=("vyactl operations show ID",), exits=(4,))(show)
    command(group, "watch", examples=("vyactl operations watch ID",), exits=(3, 4, 5, 6, 78, 130))(watch)
    command(group, "cancel", examples=("vyactl operations cancel ID",), exits=(4, 6))(cancel)
    catalog = typer.Typer(rich_markup_mode=None)
    app.add_typer(catalog, name="catalog", help="Care for the catalog.")
    command(catalog, "rebuild", examples=("vyactl catalog rebuild",), exits=(3, 6, 130))(rebuild)


def list_operations(
    session: Session,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the newest.")] = 20,
    state: Annotated[State | None, typer.Option("--state", help="Only those in this state.")] = None,
) -> int:
    """List operations, the newest first: backups, restores, verifications, rebuilds, and how each ended."""
    with session.daemon() as client:
        found = client.get("/v1/operations", {"limit": limit, "state": state.value if state else None})["operations"]
    if session.screen.is_json:
        session.screen.json({"operations": found})
    elif found:
        table(session, found)
    else:
        session.screen.say("no operations")
    return 0


def table(session: Session, found: list[dict[str, Any]]) -> None:
    """Operations, one a line."""
    rows = [
        (
            operation.get("id"),
            operation.get("kind"),
            operation.get("state"),
            shown.moment(operation.get("started_at") or operation.get("submitted_at")),
            shown.duration(outcome.seconds_of(operation)),
            operation.get("submitted_by"),
        )
        for operation in (outcome.operation_of(record) for record in found)
    ]
    session.screen.table(("ID", "KIND", "STATE", "STARTED", "TIME", "BY"), rows, right=("TIME",))


def show(session: Session, id_: OperationId) -> int:
    """Show one operation: its state, its steps, and the errors of those that failed."""
    with session.daemon() as client:
        record = client.get(f"/v1/operations/{segment(id_)}")
    if session.screen.is_json:
        session.screen.json(record)
        return 0
    operation = outcome.operation_of(record)
    table(session, [operation])
    rows = [
        (step.get("instance"), step.get("database"), step.get("state"), step.get("backup_id"), _said(step))
        for step in record.get("steps") or operation.get("steps") or []
    ]
    session.screen.table(("INSTANCE", "DATABASE", "STATE", "BACKUP", "DETAIL"), rows)
    if error := operation.get("error"):
        session.screen.facts([("error", error.get("message")), ("hint", error.get("hint"))])
    return 0


def _said(step: dict[str, Any]) -> str:
    if error := step.get("error"):
        return f"{error.get('code')}: {error.get('message')}"
    return outcome.details(step.get("detail") or {})


def watch(session: Session, id_: OperationId) -> int:
    """Stay with an operation to its end.

    Shows its progress and prints its result, and exits with the code that the command which submitted it would have
    given. Leaving with Ctrl-C leaves the operation running.
    """
    with session.daemon() as client:
        client.get(f"/v1/operations/{segment(id_)}")
        return stay(session, client, id_)


def cancel(session: Session, id_: OperationId) -> int:
    """Cancel an operation that is queued or running. What it had begun is cleaned up; backups it published stay."""
    with session.daemon() as client:
        record = client.post(f"/v1/operations/{segment(id_)}/cancel")
    if session.screen.is_json:
        session.screen.json(record)
    else:
        session.screen.say(f"{id_}: cancellation asked for; see 'operations watch {id_}'")
    return 0


def rebuild(session: Session) -> int:
    """Make the catalog anew from the files in the store.

    The manifests beside the backups are the truth and the catalog an index of them; a file without a manifest gets one
    from its own labels. Holds and proofs come back with the files. Nothing is deleted.
    """
    with session.daemon() as client:
        return submit(session, client, "rebuild", {}, verbose=True)
