"""Routes of the control socket as values: what a panel offers, said without a word of HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vya_backupd.api.access import Role
from vya_backupd.errors import UsageError

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: who asks (``actor``, as events name them), and the parts that a route may read."""

    actor: str
    body: dict[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Where the request came from: ``uid``, ``pid``, ``client``. Events that it causes carry it by themselves."""

    def text(self, key: str) -> str | None:
        """A text of the body, or None where it has none.

        Raises:
            UsageError: it is something else.
        """
        value = self.body.get(key)
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{key!r} must be text")
        return value


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that may be asked. ``path`` may hold ``{names}``; ``answer`` returns the JSON object, or raises VyaError."""

    method: str
    path: str
    role: Role
    answer: Callable[[Asked], Awaitable[Record]]


@dataclass(frozen=True, slots=True)
class Stream:
    """One thing that may be asked, and is answered with bytes as they come: as fast as the asker takes them, no faster.

    ``open`` begins the answer. What it raises before its first bytes becomes an ordinary problem; afterwards the answer
    breaks off.
    """

    method: str
    path: str
    role: Role
    open: Callable[[Asked], AsyncGenerator[bytes]]
    content_type: str = "application/sql"


class Panel(Protocol):
    """One capability's face on the control socket."""

    def routes(self) -> Sequence[Route | Stream]:
        """What it offers."""
