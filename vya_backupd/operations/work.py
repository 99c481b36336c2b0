"""The two sides of a running operation: the queue that runs it and the use case that does it.

The queue (``daemon.queue``) owns states, cancellation and history and hands a ``Work`` to a ``Handler``; the handler
does the work and reports steps and progress. Neither knows the other's insides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from vya_backupd.errors import VyaError
from vya_backupd.model.operation import Operation, Progress, State


class Work(Protocol):
    """What a handler may say about the operation that it runs."""

    @property
    def operation(self) -> Operation:
        """The operation as it was when it was started."""

    async def plan_steps(self, steps: Sequence[tuple[str, str]]) -> None:
        """Announce the steps, as (instance, database), in the order in which they will run."""

    async def step_started(self, instance: str, database: str) -> None:
        """A step begins."""

    async def step_finished(
        self,
        instance: str,
        database: str,
        state: State,
        *,
        backup_id: str | None = None,
        error: VyaError | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """A step ended. ``detail`` is kept with it and shown by the client."""

    def progress(self, progress: Progress) -> None:
        """Tell how far it is; cheap, callable from any thread, thinned out before anybody sees it."""


class Handler(Protocol):
    """One kind of operation."""

    def resources(self, request: dict[str, Any]) -> frozenset[str]:
        """The keys (``instance:ID``) that no other running operation may hold meanwhile.

        Raises:
            VyaError: the request cannot be served at all; it is refused before it is queued.
        """

    async def run(self, work: Work) -> dict[str, Any]:
        """Do it. Returns what the operation's record keeps as its result.

        Raises:
            VyaError: the whole operation failed; failures of single steps are reported through ``work``.
        """
