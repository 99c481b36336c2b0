"""What the queue needs of the catalog. The catalog fulfils it; so does the stand-in of the queue's own tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, State, Step


class Ledger(Protocol):
    """Operations on record. Every change and its event are one transaction."""

    async def submit(self, operation: Operation, event: Event, *, also: Sequence[Event] = ()) -> Operation:
        """Record a queued operation. With a ``key`` that is on record already: nothing, and that one comes back.

        ``also``: further events of the same transaction.
        """

    async def advance(
        self,
        operation_id: str,
        to: State,
        *,
        event: Event,
        error: dict[str, Any] | None = None,
        result: dict[str, Any] | None = None,
        unfinished: State | None = None,
    ) -> Operation:
        """Move an operation; ``event.at`` becomes its start or end. Steps that have not ended go to ``unfinished``.

        Raises:
            ValueError: the move is not allowed.
        """

    async def plan_steps(self, operation_id: str, steps: Sequence[Step]) -> None:
        """Append steps."""

    async def update_step(self, operation_id: str, step: Step, event: Event | None = None) -> None:
        """Replace the step of this instance and database."""

    async def get(self, operation_id: str) -> Operation | None:
        """The operation with its steps."""

    async def interrupt_running(
        self, error: dict[str, Any], report: Callable[[Operation], Event]
    ) -> Sequence[Operation]:
        """Close what a dead daemon left running, with the event that ``report`` makes of each."""

    async def queued(self) -> Sequence[Operation]:
        """Operations that wait, the first submitted first."""
