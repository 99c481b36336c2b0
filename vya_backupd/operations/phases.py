"""How long each phase of a piece of work took."""

from __future__ import annotations

import time


class Phases:
    """Seconds by phase, in the order in which they were entered. Telling the same phase again changes nothing."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._phase = ""
        self._since = 0.0

    def enter(self, phase: str) -> None:
        """The phase before is over."""
        if phase != self._phase:
            self._leave()
            self._phase, self._since = phase, time.monotonic()

    def ended(self) -> dict[str, float]:
        """All of them, the last one up to now, rounded to milliseconds."""
        self._leave()
        self._phase = ""
        return {phase: round(seconds, 3) for phase, seconds in self._seconds.items()}

    def _leave(self) -> None:
        if self._phase:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + time.monotonic() - self._since
