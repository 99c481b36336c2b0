"""Waiting for a server's answer, with an eye on whether it still works on it.

Many statements of ours may take hours, as an index does; so no time limit tells a slow one from one whose answer will
never come: the server stands still, or a firewall has forgotten the connection. After a while without an answer the
server is asked, over another connection, what becomes of the session. It works on: we wait on. It waits for us, does
not know of it, or says nothing twice in a row: the answer is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from vya_backupd.engines.stderr import HINT_LOST
from vya_backupd.errors import ServerError, VyaError
from vya_backupd.model.instance import EngineKind

T = TypeVar("T")

_MISSES = 2
"""Questions about a session that may go without an answer before it counts as lost: a busy server may miss one."""
_GRACE = 5.0
"""Seconds for an answer that was on its way while we asked."""
_WAITS_FOR_US = ("receiving from client", "sending to client", "writing to net", "reading from net")
"""States in which MySQL and MariaDB wait for their client, in the midst of a statement."""

POSTGRESQL_ACTIVITY = (
    "SELECT pid, datname FROM pg_catalog.pg_stat_activity"
    " WHERE state = 'active' AND wait_event_type IS DISTINCT FROM 'Client' AND pid <> pg_catalog.pg_backend_pid()"
)
"""Sessions that work, and in which databases. Those of other accounts are shown without a state, and left out."""
MYSQL_ACTIVITY = "SHOW PROCESSLIST"


def working(kind: EngineKind, rows: Sequence[tuple[Any, ...]]) -> list[tuple[int, str]]:
    """The sessions that work, each by its number and its database, from the rows of the queries above.

    Whoever asks is left out.
    """
    if kind is EngineKind.POSTGRESQL:
        return [(int(number), str(database or "")) for number, database in rows]
    return [
        (int(number), str(database or ""))
        for number, _, _, database, command, _, state, statement, *_ in rows
        if str(command).lower() not in {"sleep", "daemon"}
        and str(state or "").lower() not in _WAITS_FOR_US
        and statement != MYSQL_ACTIVITY
    ]


async def answer(
    work: Coroutine[Any, Any, T], is_worked_on: Callable[[], Awaitable[bool]], patience: float | None
) -> T:
    """The result of ``work``. After every ``patience`` seconds without one ``is_worked_on`` is asked; None never asks.

    Raises:
        ServerError: ``server_lost``: nobody works on it any more. What ``work`` raises, too.
    """
    task = asyncio.ensure_future(work)
    misses = 0
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=patience)
            if not task.done():
                misses = await _missed(is_worked_on, misses)
            if misses >= _MISSES and not (await asyncio.wait({task}, timeout=_GRACE))[0]:
                raise ServerError(
                    f"no answer for more than {patience:g} s, and the server does not work on it",
                    code="server_lost",
                    hint=HINT_LOST,
                    retryable=True,
                )
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _missed(is_worked_on: Callable[[], Awaitable[bool]], before: int) -> int:
    """How many questions in a row have missed now. An answer that says no counts for all of them."""
    try:
        return 0 if await is_worked_on() else _MISSES
    except (VyaError, TimeoutError):
        return before + 1
