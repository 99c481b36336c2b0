"""From where a request came, for as long as it is answered: what the events that it causes carry as ``origin``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Origin:
    """A process that asked. ``client``: ``control`` over the socket, ``standalone`` from within this very process."""

    uid: int
    pid: int
    client: str = "control"

    def to_json(self) -> dict[str, Any]:
        """As events carry it."""
        return asdict(self)


_current: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current_origin() -> Origin | None:
    """Whose request is being answered here; None in the daemon's own work."""
    return _current.get()


@contextmanager
def speaking_for(origin: Origin) -> Iterator[None]:
    """Have events that are written within this block, by this task, carry the origin.

    What a request sets going and leaves to others (an operation, its steps) is no longer within it.
    """
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)
