"""An operation: everything the daemon does for somebody. Its states are a table; one function advances them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class OperationKind(enum.StrEnum):
    """What an operation does."""

    BACKUP = "backup"
    RESTORE = "restore"
    VERIFY = "verify"
    PRUNE = "prune"
    REBUILD = "rebuild"


class State(enum.StrEnum):
    """Where an operation, or one of its steps, stands. Steps use all but ``PARTIAL`` and ``INTERRUPTED`` alike."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED, State.INTERRUPTED}),
    State.RUNNING: frozenset(
        {State.SUCCEEDED, State.PARTIAL, State.FAILED, State.CANCELLED, State.INTERRUPTED},
    ),
    State.SUCCEEDED: frozenset(),
    State.PARTIAL: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.INTERRUPTED: frozenset(),
}
"""Allowed moves. A state without moves is final."""


def advance(now: State, to: State) -> State:
    """Return ``to`` when the move is allowed.

    Raises:
        ValueError: the move is not in ``MOVES``.
    """
    if to not in MOVES[now]:
        message = f"an operation cannot move from {now} to {to}"
        raise ValueError(message)
    return to


def is_final(state: State) -> bool:
    """Whether nothing can follow this state."""
    return not MOVES[state]


def outcome(steps: list[State]) -> State:
    """The end of an operation from the ends of its steps: all well, some well, none well."""
    if any(state is State.CANCELLED for state in steps):
        return State.CANCELLED
    if any(state is State.INTERRUPTED for state in steps):
        return State.INTERRUPTED
    good = sum(state is State.SUCCEEDED for state in steps)
    if good == len(steps):
        return State.SUCCEEDED
    return State.PARTIAL if good else State.FAILED


@dataclass(frozen=True, slots=True)
class Step:
    """One database's part of an operation. ``error`` is the wire form of an error."""

    instance: str
    database: str
    state: State = State.QUEUED
    backup_id: str | None = None
    error: dict[str, Any] | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """A piece of work, from submission to its end. Times are UTC."""

    id: str
    kind: OperationKind
    state: State
    request: dict[str, Any]
    submitted_at: datetime
    submitted_by: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: dict[str, Any] | None = None
    steps: tuple[Step, ...] = ()
    result: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running operation is. Bytes are of raw dump; ``expected_bytes`` is the last run's, 0 if unknown."""

    operation_id: str
    instance: str
    database: str
    phase: str
    bytes_done: int
    expected_bytes: int
    bytes_written: int = 0
    message: str = ""
