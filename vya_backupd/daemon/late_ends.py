"""Ends of operations that come onto record late: of those that died with a daemon, and those that the catalog refused.

An operation that is on record as running keeps its instance's schedule waiting and its backups from deletion. So no end
may stay unwritten: the next start closes what a dead daemon left, and what the catalog did not take while the daemon
lives is kept, shown as it ended, and offered again at every look of the daemon at itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from vya_backupd.daemon.facts import finished_facts
from vya_backupd.daemon.keeper import interrupted
from vya_backupd.daemon.ledger import Ledger
from vya_backupd.daemon.running import RunningOperation
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, State

KeysOf = Callable[[Operation], frozenset[str]]


class LateEnds:
    """Operations that have ended, and of which the catalog does not know it yet."""

    def __init__(self) -> None:
        self._owed: dict[str, RunningOperation] = {}

    def add(self, entry: RunningOperation) -> None:
        """This one's end was refused."""
        self._owed[entry.operation.id] = entry

    def shown(self, operation_id: str) -> Operation | None:
        """How it ended; None where the catalog knows."""
        entry = self._owed.get(operation_id)
        return None if entry is None else entry.current()

    async def settle(self) -> None:
        """Offer them again.

        Raises:
            StorageError: the catalog still refuses; the rest waits for the next time.
        """
        for operation_id, entry in list(self._owed.items()):
            await entry.record_late()
            self._owed.pop(operation_id, None)


async def close_left_behind(
    ledger: Ledger, now: Callable[[], datetime], keys_of: KeysOf, engine_of: Callable[[str], str]
) -> list[Operation]:
    """Close what an earlier daemon left running or waiting. Returns what was interrupted.

    What was waiting is closed too: nobody may be surprised by a restore that was asked for before a crash. A slot of the
    schedule goes on as its next attempt, which is the scheduler's to submit.
    """
    error = interrupted("the daemon ended while this ran")

    def report(operation: Operation) -> Event:
        cut_off = replace(operation, error=error.to_json())
        facts = finished_facts(cut_off, State.INTERRUPTED, keys=keys_of(operation), engine_of=engine_of)
        return Event("operation.finished", now(), operation.id, data=facts)

    closed = list(await ledger.interrupt_running(error.to_json(), report))
    not_begun = interrupted("the daemon ended before this began").to_json()
    for operation in await ledger.queued():
        ended = await ledger.advance(
            operation.id,
            State.INTERRUPTED,
            event=report(operation),
            error=not_begun,
            unfinished=State.INTERRUPTED,
        )
        closed.append(ended)
    return closed
