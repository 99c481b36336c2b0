"""A part of the running daemon: something that lives beside the queue, from the end of the start to the stop."""

from __future__ import annotations

from typing import Protocol


class Part(Protocol):
    """What ``app`` runs as a task of its own, by its name.

    An expected failure of the outside world (a mail server that is down) never leaves ``run``: it is logged, counted,
    and tried again. What does leave it is a defect, and ends the daemon: no part dies unseen.
    """

    name: str

    async def run(self) -> None:
        """Live until cancelled."""

    async def settle(self) -> None:
        """Do now what should not wait for the next start; called once, when no operation runs any more.

        It has a deadline, and may be cancelled by it: what is unfinished must be on record already.
        """
