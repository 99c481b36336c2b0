"""Holding back the commits of a MySQL or MariaDB server for a moment, so that several transactions see the same.

What must never happen is a server that waits for us. So:

* nothing is tried while a statement has been running for two seconds, since new ones would queue behind it and us;
* the server gives up after a second when somebody else has what we want;
* the server itself ends our session, and with it the lock, when it has heard nothing of us for two seconds: whatever
  happens to this process, killed, stopped or busy with something else. A connection that breaks has the same effect.

Whoever holds commits back must therefore ask at the end whether they *were* held back all the time: ``end`` fails when
the session is gone, and then nothing that was done meanwhile can be relied upon.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from vya_backupd.errors import ServerError
from vya_backupd.model.instance import EngineKind, ServerFacts
from vya_backupd.probe.connect import Row, Session

LONGEST = 2
"""Seconds for which commits wait at most. The server reckons in whole ones."""
_MARGIN = 0.2
"""Seconds before the server's own limit at which we are done, so that it is we who end it."""
_ANSWER = 2.0
"""Seconds within which the server must have answered all that it takes to begin, and to end."""
_GIVE_UP = 1
"""Seconds after which the server gives up to get the lock."""
_OLDEST = 2
"""Seconds that other statements may have been running."""
_PATIENCE = 5.0
"""Seconds to wait for a moment without a longer statement."""
_BACKUP_STAGES_SINCE = (10, 4)
_IDLE = frozenset(
    {"sleep", "daemon", "binlog dump", "binlog dump gtid", "connect", "slave_io", "slave_sql", "slave_worker"}
)
"""Commands of sessions that run no statement: the time beside them says how long they have been waiting."""
_SERVERS_OWN = frozenset({"system user", "event_scheduler"})


class Stillness:
    """Commits wait, until ``end`` or for ``LONGEST`` seconds."""

    def __init__(self, session: Session, release: str, since: float) -> None:
        self._session = session
        self._release = release
        self._since = since

    @property
    def left(self) -> float:
        """Seconds within which ``end`` must be called."""
        return self._since + LONGEST - _MARGIN - time.monotonic()

    async def end(self) -> float:
        """Let commits go on. Seconds since they began to wait.

        Raises:
            Exception: the driver's; they have gone on before, at a time that nobody knows.
        """
        async with asyncio.timeout(_ANSWER):
            await self._session.run(self._release)
        return time.monotonic() - self._since


async def hold_commits(session: Session, server: ServerFacts) -> Stillness:
    """Hold commits back. Closing the session lets them go on as well.

    Raises:
        ServerError: this is not the moment, or not the server, for it. Exceptions of the driver as they are.
    """
    await session.run(f"SET SESSION wait_timeout = {LONGEST}, lock_wait_timeout = {_GIVE_UP}")
    if await _is_cluster(session):
        raise ServerError("a node of a Galera cluster would hold back all the others")
    await _wait_for_calm(session)
    *preparing, lock, release = _statements(server)
    async with asyncio.timeout(_ANSWER):
        for statement in preparing:
            await session.run(statement)
        since = time.monotonic()
        await session.run(lock)
    return Stillness(session, release, since)


def _statements(server: ServerFacts) -> tuple[str, ...]:
    """What comes before, what holds back, what lets go."""
    if server.vendor is EngineKind.MARIADB and server.version[:2] >= _BACKUP_STAGES_SINCE:
        limit = f"SET SESSION max_statement_time = {LONGEST}"
        return limit, "BACKUP STAGE START", "BACKUP STAGE BLOCK_COMMIT", "BACKUP STAGE END"
    return "FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES"


async def _is_cluster(session: Session) -> bool:
    return any(str(value).upper() == "ON" for _, value in await session.run("SHOW GLOBAL VARIABLES LIKE 'wsrep_on'"))


async def _wait_for_calm(session: Session) -> None:
    own = await session.value("SELECT CONNECTION_ID()")
    until = time.monotonic() + _PATIENCE
    while (age := oldest_statement(await session.run("SHOW PROCESSLIST"), int(own))) >= _OLDEST:
        if time.monotonic() > until:
            raise ServerError(f"a statement of another session has been running for {age} s")
        await asyncio.sleep(0.25)


def oldest_statement(processes: Sequence[Row], own: int) -> int:
    """For how many seconds the oldest statement of others has been running, from the rows of SHOW PROCESSLIST."""
    ages = [
        int(seconds or 0)
        for number, user, _, _, command, seconds, *_ in processes
        if int(number) != own and str(command).lower() not in _IDLE and str(user) not in _SERVERS_OWN
    ]
    return max(ages, default=0)
