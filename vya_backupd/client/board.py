"""What is known of a running operation: one row per database, with rate and time to go. No terminal, no clock.

The rate is taken over the last seconds and not over the whole run: a dump that crawls now should look like one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

WINDOW_SECONDS = 10.0
"""The span over which a rate is taken."""


@dataclass(slots=True)
class Row:
    """One step. Bytes are of raw dump; ``expected`` is 0 where nobody knows."""

    instance: str
    database: str
    state: str = "queued"
    phase: str = ""
    message: str = ""
    done: int = 0
    expected: int = 0
    written: int = 0
    error: dict[str, Any] | None = None
    backup_id: str | None = None
    samples: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def running(self) -> bool:
        """Whether work on it goes on now."""
        return self.state == "running"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in {"queued", "running"}

    def rate(self) -> float | None:
        """Bytes a second over the window; None before two samples."""
        if len(self.samples) < 2:
            return None
        (began, first), (ended, last) = self.samples[0], self.samples[-1]
        return (last - first) / (ended - began) if ended > began else None

    def share(self) -> float | None:
        """0 to 1 of what the last run came to; never 1 before the end, since a database may have grown."""
        if self.state == "succeeded":
            return 1.0
        return min(self.done / self.expected, 0.99) if self.expected > 0 else None

    def seconds_left(self) -> float | None:
        """At the present rate; None where size or rate are unknown, or the expected size is passed."""
        rate = self.rate()
        if not rate or self.expected <= self.done:
            return None
        return (self.expected - self.done) / rate


class Board:
    """The rows of one operation, in the order in which they were heard of."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.state = "queued"
        self.behind: list[str] = []
        """The operations for whose end this one waits, by kind and id."""

    def operation(self, record: dict[str, Any]) -> None:
        """Take in the operation as it is."""
        self.state = str(_inner(record, "operation").get("state", self.state))
        self.behind = [f"{each.get('kind')} {each.get('id')}" for each in record.get("behind") or ()]
        for step in record.get("steps") or _inner(record, "operation").get("steps") or ():
            self.step(step)

    def step(self, record: dict[str, Any]) -> Row:
        """Take in a step's state."""
        step = _inner(record, "step")
        row = self._row(step)
        if (state := str(step.get("state", row.state))) != row.state and state == "running":
            row.samples.clear()
            row.done = row.written = 0
        row.state = state
        row.error = step.get("error")
        row.backup_id = step.get("backup_id")
        return row

    def progress(self, record: dict[str, Any], now: float) -> Row:
        """Take in a measurement made at ``now`` (seconds of a steady clock). A new phase starts counting anew."""
        progress = _inner(record, "progress")
        row = self._row(progress)
        phase, done = str(progress.get("phase") or ""), int(progress.get("bytes_done") or 0)
        if phase != row.phase or done < row.done:
            row.samples.clear()
        row.phase, row.done = phase, done
        row.expected = int(progress.get("expected_bytes") or 0)
        row.written = int(progress.get("bytes_written") or 0)
        row.message = str(progress.get("message") or "")
        if not row.finished:
            row.state = "running"
        row.samples.append((now, done))
        while len(row.samples) > 2 and now - row.samples[0][0] > WINDOW_SECONDS:
            row.samples.popleft()
        return row

    def standing(self) -> str:
        """How the operation stands before any of its steps is known."""
        if not self.behind:
            return self.state
        more = f" and {len(self.behind) - 1} more" if len(self.behind) > 1 else ""
        return f"{self.state} behind {self.behind[0]}{more}"

    def counts(self) -> tuple[int, int]:
        """Steps that are finished, and all steps."""
        return sum(row.finished for row in self.rows.values()), len(self.rows)

    def _row(self, record: dict[str, Any]) -> Row:
        key = (str(record.get("instance") or ""), str(record.get("database") or ""))
        if key not in self.rows:
            self.rows[key] = Row(*key)
        return self.rows[key]


def _inner(record: dict[str, Any], key: str) -> dict[str, Any]:
    inner = record.get(key)
    return inner if isinstance(inner, dict) else record
