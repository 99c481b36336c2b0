"""Take away what killed restores have left on servers.

Every restore writes down what it makes before it makes it (``belongings``). When its operation has ended and the file
is still there, the daemon died, or the server went away, and what the file names is taken away: at the start of the
daemon, once a minute while a server does not answer, and before the next restore onto that server.

What is ours and what is not:

* a database *beside* the target has the operation's token in its name, and was written down before it was made: it goes;
* a new database under the wanted name is ours as long as the marker table of its restore stands in it;
* nothing goes to which somebody is connected;
* when an exchange had begun, the original may be anywhere between its two names. As long as a database stands aside, or
  the target lets nobody in, nothing at all is touched and nothing guessed: status and log show the one command that
  leads back. When nothing stands aside any more, somebody has decided, and what is left besides goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog

from vya_backupd.engines import mysql_sql
from vya_backupd.engines.base import Engine
from vya_backupd.engines.mysql_definers import Loan, is_locked
from vya_backupd.engines.mysql_globals import quoted_account
from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.engines.registry import engine_for
from vya_backupd.errors import ServerError, VyaError
from vya_backupd.model.event import Event
from vya_backupd.model.instance import Instance
from vya_backupd.model.operation import is_final
from vya_backupd.operations.belongings import Belongings, Swapping, halves, read_all, remove
from vya_backupd.operations.site import Site

_log = structlog.get_logger("vya.restore")

AGAIN_SECONDS = 60.0
"""How often a part of the daemon looks again."""
_PATIENCE = 5.0
"""Seconds that the last statement of a killed client may go on running on the server."""
_STEP = 0.2


class Leftovers:
    """A part of the daemon, and what a restore calls before it looks at its target."""

    name = "leftovers"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._told: dict[Path, str] = {}

    @property
    def _state_dir(self) -> Path:
        return self._site.config.application.state_dir

    async def run(self) -> None:
        """Live until cancelled."""
        while True:
            await self.take_away()
            await asyncio.sleep(AGAIN_SECONDS)

    async def settle(self) -> None:
        """Nothing: the next start does it."""

    def unsettled(self) -> list[str]:
        """What could not be taken away, and why, for people."""
        there = {path for path, _ in read_all(self._state_dir)}
        return [told for path, told in self._told.items() if path in there]

    async def take_away(self, instance_id: str | None = None) -> None:
        """Take away what dead restores have left, on one server or on all. What cannot go now stays for the next time."""
        async with self._site.leftovers:
            for path, belongings in await asyncio.to_thread(read_all, self._state_dir):
                if instance_id in (None, belongings.instance) and await self._is_dead(belongings.operation):
                    await self._settle(path, belongings)
            for path, operation in await asyncio.to_thread(halves, self._state_dir):
                if await self._is_dead(operation):
                    await asyncio.to_thread(remove, path)

    async def _is_dead(self, operation_id: str) -> bool:
        """Whether nobody works on it any more. An operation that a lost catalog does not know is none that runs."""
        operation = await self._site.catalog.operations.get(operation_id)
        return operation is None or is_final(operation.state)

    async def _settle(self, path: Path, belongings: Belongings) -> None:
        instance = self._site.settings.instances.get(belongings.instance)
        if instance is None:
            return self._tell(path, belongings, "the instance is no longer configured: look there by hand")
        try:
            trouble = await _Cleaning(self._site, instance, belongings).run()
        except VyaError as error:
            trouble = f"the server did not let it be taken away: {error.message}"
        if trouble is not None:
            return self._tell(path, belongings, trouble)
        await asyncio.to_thread(remove, path)
        self._told.pop(path, None)
        return None

    def _tell(self, path: Path, belongings: Belongings, trouble: str) -> None:
        """For the status; and, when it is new, for the log."""
        text = f"{belongings.instance}/{belongings.target}: restore {belongings.operation} was cut short; {trouble}"
        if self._told.get(path) != text:
            swapping = belongings.swapping
            _log.warning(
                "restore.unsettled",
                instance=belongings.instance,
                database=belongings.target,
                operation=belongings.operation,
                reason=trouble,
                way_back=swapping.command if swapping else None,
            )
        self._told[path] = text


class _Cleaning:
    """One dead restore's belongings on its server."""

    def __init__(self, site: Site, instance: Instance, belongings: Belongings) -> None:
        self._site = site
        self._instance = instance
        self._belongings = belongings
        self._engine: Engine = engine_for(instance.kind)

    async def run(self) -> str | None:
        """Take everything away. What keeps us from it, None when nothing is left.

        Raises:
            VyaError: the server did not answer, or refused.
        """
        mine = self._belongings
        swapping = mine.swapping
        if swapping is not None and not await self._is_decided(swapping):
            return (
                f"while it exchanged databases. The original may stand aside as {swapping.aside!r}. Bring it back:"
                f" {swapping.command} ; what is still left under that name is then yours to drop, the rest goes by itself"
            )
        for database in (*mine.beside, *([mine.unfinished] if mine.unfinished else [])):
            if await self._is_ours(database) and not await self._dropped(database):
                return f"{database!r} is left over, and somebody is connected to it"
        for loan in mine.loans:
            await self._take_back(loan)
        if swapping is not None:
            await asyncio.to_thread(remove, Path(swapping.script))
        return None

    async def _is_decided(self, swapping: Swapping) -> bool:
        if await self._number(self._engine.exists_sql(swapping.aside)):
            return False
        engine = self._engine
        return not (isinstance(engine, PostgreSQL) and await self._number(engine.closed_sql(self._belongings.target)))

    async def _is_ours(self, database: str) -> bool:
        if not await self._number(self._engine.exists_sql(database)):
            return False
        if database != self._belongings.unfinished:
            return True
        return bool(await self._number(mysql_sql.is_marked(database, self._belongings.marker)))

    async def _dropped(self, database: str) -> bool:
        """Drop it, unless somebody is connected. A killed client's last statement is waited for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE
        while await self._number(self._engine.sessions_sql(database)):
            if loop.time() > deadline:
                return False
            await asyncio.sleep(_STEP)
        server = await self._site.probe.server(self._instance)
        if isinstance(self._engine, PostgreSQL):
            await self._execute(self._engine.open_sql(database))
        if statements := self._engine.before_drop_sql(database):
            await self._site.probe.execute(self._instance, statements, database=database)
        await self._execute(self._engine.drop_database_sql(database, server))
        await self._say("restore.leftover_dropped", database, {"target": self._belongings.target})
        return True

    async def _take_back(self, loan: Loan) -> None:
        """An account goes only while it is locked as we made it: somebody may have made it a real one since."""
        if loan.is_new and not await self._is_locked(loan):
            return
        try:
            await self._execute(loan.take_back)
        except ServerError as error:
            if error.code != "server_error":
                raise
            return  # it was never lent, or is taken back already
        await self._say("restore.loan_taken_back", self._belongings.target, {"new_account": loan.is_new})

    async def _is_locked(self, loan: Loan) -> bool:
        known = (await self._site.probe.globals_target(self._instance)).roles
        if loan.account not in {quoted_account(*each.rsplit("@", 1)) for each in known}:
            return False
        rows = await self._site.probe.fetch(self._instance, f"SHOW CREATE USER {loan.account}")
        return is_locked(str(rows[0][0]))

    async def _say(self, name: str, database: str, data: dict[str, object]) -> None:
        mine = self._belongings
        event = Event(name, self._site.now(), mine.operation, mine.instance, database, data=data)
        await self._site.catalog.record(event)

    async def _number(self, sql: str) -> int:
        return await self._site.probe.number(self._instance, sql)

    async def _execute(self, statements: Sequence[str]) -> None:
        await self._site.probe.execute(self._instance, statements)
