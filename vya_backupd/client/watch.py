"""Submitting an operation and staying with it to its end.

The operation belongs to the daemon: whoever leaves here leaves it running. A connection that breaks is taken up again,
since a daemon that reloads or restarts is no reason to tell somebody that their backup failed.
"""

from __future__ import annotations

import time
from typing import Any

from vya_backupd.client import outcome, shown
from vya_backupd.client.board import Board
from vya_backupd.client.session import Session
from vya_backupd.client.transport import ControlClient, segment
from vya_backupd.client.views import View, view_for
from vya_backupd.errors import UnreachableError
from vya_backupd.model.operation import State, is_final

PATIENCE_SECONDS = 15.0
"""How long a daemon that went away is looked for."""
PAUSE_SECONDS = 0.5
INTERRUPTED = 130


def submit(
    session: Session,
    client: ControlClient,
    kind: str,
    request: dict[str, Any],
    *,
    wait: bool = True,
    verbose: bool = False,
) -> int:
    """Submit an operation, stay with it, print its result. Returns the exit code. Raises VyaError as the daemon says."""
    answer = client.post("/v1/operations", {"kind": kind, "request": request})
    operation = answer.get("operation", answer)
    for note in operation.pop("notes", ()):
        session.screen.say(f"note: {shown.plain(note)}")
    if wait:
        return watch(session, client, str(operation["id"]), verbose=verbose)
    if session.screen.is_json:
        session.screen.json({"operation": operation})
    else:
        session.screen.answer(str(operation["id"]))
    session.screen.say(f"submitted; watch it with: {session.program} operations watch {operation['id']}")
    return 0


def watch(session: Session, client: ControlClient, operation_id: str, *, verbose: bool = False) -> int:
    """Stay with an operation to its end and print its result; Ctrl-C leaves it. Returns the exit code."""
    board = Board()
    try:
        record = _follow(client, operation_id, board)
    except KeyboardInterrupt:
        if not session.standalone:
            return _leave(session, operation_id, board)
        session.screen.say("interrupted: stopping the work (once more: stop at once)")
        client.post(f"/v1/operations/{segment(operation_id)}/cancel")
        record = _follow(client, operation_id, board)
    return outcome.report(session.screen, record, verbose=verbose)


def _leave(session: Session, operation_id: str, board: Board) -> int:
    """Say that the work goes on without us, and how to come back to it."""
    screen = session.screen
    screen.say(f"\nOperation {operation_id} goes on in the daemon.")
    screen.say(f"  watch it:  {session.program} operations watch {operation_id}")
    screen.say(f"  cancel it: {session.program} operations cancel {operation_id}")
    if screen.is_json:
        screen.json({"operation": {"id": operation_id, "state": board.state}})
    return INTERRUPTED


def _follow(client: ControlClient, operation_id: str, board: Board) -> dict[str, Any]:
    """The result record of an operation, once it is finished."""
    path = f"/v1/operations/{segment(operation_id)}"
    with view_for(board) as view:
        while True:
            try:
                record = _listen(client, path, board, view)
            except UnreachableError:
                record = None
            if record is None:
                record = _look_again(client, path, operation_id)
            if is_final(State(outcome.operation_of(record)["state"])):
                return record
            time.sleep(PAUSE_SECONDS)


def _listen(client: ControlClient, path: str, board: Board, view: View) -> dict[str, Any] | None:
    """Follow the daemon's records; the result, or None when they end before the operation does."""
    for record in client.lines(f"{path}/watch"):
        match record.get("type"):
            case "operation":
                board.operation(record)
                view.moved(board)
            case "step":
                view.stepped(board.step(record))
            case "progress":
                now = time.monotonic()
                view.progressed(board.progress(record, now), now)
            case "finished":
                result = record.get("result")
                return result if isinstance(result, dict) else record
            case _:
                pass  # a heartbeat, or a kind of record that a newer daemon sends
    return None


def _look_again(client: ControlClient, path: str, operation_id: str) -> dict[str, Any]:
    """The operation as it is now, from a daemon that may need a moment to come back."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return dict(client.get(path))
        except UnreachableError as error:
            if time.monotonic() > deadline:
                error.message = f"{error.message}; how operation {operation_id} goes on is not known"
                raise
            time.sleep(PAUSE_SECONDS)
