"""Whether a failed database is tried again, and when. A decision is a value; the runtime obeys."""

from __future__ import annotations

from dataclasses import dataclass

from vya_backupd.errors import VyaError


@dataclass(frozen=True, slots=True)
class Budget:
    """How much trying is allowed: attempts in all, the first wait, its growth, and the longest wait (seconds)."""

    attempts: int = 3
    first_wait: float = 10.0
    growth: float = 4.0
    longest_wait: float = 600.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Try ``again`` after ``delay`` seconds, or do not; and why, in words for the log."""

    again: bool
    delay: float
    reason: str


def decide(error: VyaError, attempt: int, budget: Budget, *, roll: float = 0.5) -> Decision:
    """What follows a failure of the given attempt (the first is 1).

    ``roll`` from 0 to 1 is the caller's dice: it spreads the wait over 75-125 %, so that many databases which failed
    together do not come back together.
    """
    if not error.retryable:
        return Decision(again=False, delay=0.0, reason=f"{error.code} does not pass by waiting")
    if attempt >= budget.attempts:
        return Decision(again=False, delay=0.0, reason=f"attempt {attempt} of {budget.attempts} was the last")
    steps = min(attempt - 1, 64)  # beyond that the power overflows, and the longest wait holds long since
    wait = min(budget.first_wait * budget.growth**steps, budget.longest_wait)
    delay = wait * (0.75 + 0.5 * roll)
    return Decision(again=True, delay=delay, reason=f"{error.code}: attempt {attempt + 1} of {budget.attempts} follows")
