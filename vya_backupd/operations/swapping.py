"""Exchange a database for its restored successor, and find the way back when a step fails.

Before the first step the whole way back is written into the state directory, as a script for the server's own client,
and its path is logged: when nobody is left to undo the steps, one command does. The script goes when all is well.

An exchange that has begun comes to its end, or back to its beginning, whatever is cancelled meanwhile: its steps are
short, and a database in the midst of them is nobody's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

import structlog

from vya_backupd import faults
from vya_backupd.engines import mysql_swap
from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.engines.swap import SwapPlan, SwapStep
from vya_backupd.errors import TargetError, VyaError
from vya_backupd.model.instance import EngineKind
from vya_backupd.operations.belongings import Notebook, Swapping, remove, write_durably
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target
from vya_backupd.unbroken import outlasting

_log = structlog.get_logger("vya.restore")
_UNSURE = frozenset({"server_lost", "connection_refused"})
"""Errors that do not say whether the server did what it was told."""
_IN_PLACE = "The original is in place, as it was."
_LOCK_SECONDS = 60
"""How long a step waits for those who use a table of MySQL or MariaDB: behind it everybody else waits, too."""
_UNDO_SECONDS = 600
"""The same of a step back: better late than not at all."""
_FRESH_SESSION = "SET NAMES utf8mb4; SET SESSION sql_mode = DEFAULT, time_zone = DEFAULT;"
"""Undoes what an earlier step of the same script has set."""


class Exchange:
    """Gives ``restored`` the place of the target's database; the original is ``aside`` meanwhile, and dropped at last."""

    def __init__(self, site: Site, target: Target, notebook: Notebook, restored: str, aside: str) -> None:
        self._site = site
        self._target = target
        self._restored = restored
        self._aside = aside
        self._notebook = notebook
        self._script = site.config.application.state_dir / f"undo-{notebook.name}.sql"

    async def run(
        self, *, disconnect: bool, enable_events: Collection[str] = (), plan: SwapPlan | None = None
    ) -> list[str]:
        """Do it. ``enable_events``: events (MySQL, MariaDB) that run from then on. Returns notes for the operator.

        ``plan``: what to do instead of exchanging the whole databases.

        Raises:
            TargetError: sessions are connected (``target_in_use``), or a step failed and was undone (``swap_refused``).
        """
        plan = plan or await self._plan(disconnect=disconnect, enable_events=enable_events)
        return await outlasting(self._carried_out(plan))

    async def _carried_out(self, plan: SwapPlan) -> list[str]:
        with self._written_down(plan):
            faults.point("restore.swap_begun")
            await self._steps(plan)
            faults.point("restore.swapped")
        notes = [note for statement in plan.cleanup for note in await self._clean(statement)]
        if not notes:
            self._notebook.gone(self._restored)
            self._notebook.gone(self._aside)
        return notes

    async def _clean(self, statement: str) -> list[str]:
        """Drop what the exchange left over. It is done by then: a failure here is a note, not a failure."""
        try:
            await self._execute([statement], None)
        except VyaError as error:
            return [f"the former database was not removed; run {statement}: {error.message}"]
        return []

    async def _plan(self, *, disconnect: bool, enable_events: Collection[str]) -> SwapPlan:
        probe, instance, original = self._site.probe, self._target.instance, self._target.database
        engine = self._target.engine
        if not isinstance(engine, PostgreSQL):
            contents = [await probe.content(instance, name) for name in (original, self._restored)]
            return mysql_swap.swap(contents[0], contents[1], self._aside, enable_events)
        others = await probe.number(instance, engine.sessions_sql(original), self._outside)
        if others and not disconnect:
            raise TargetError(
                f"{others} other sessions are connected to {original!r}",
                code="target_in_use",
                hint="Stop the applications that use it, or end their sessions with --disconnect.",
                instance=instance.id,
                database=original,
            )
        return engine.swap(original, self._restored, self._aside, disconnect=disconnect)

    @contextlib.contextmanager
    def _written_down(self, plan: SwapPlan) -> Iterator[None]:
        self._notebook.swapping(Swapping(self._aside, str(self._script), self._command()))
        write_durably(self._script, way_back(plan, self._target))
        _log.warning(
            "restore.swap_begins",
            instance=self._target.instance.id,
            database=self._target.database,
            steps=len(plan.steps),
            way_back=self._command(),
        )
        try:
            yield
        except VyaError as error:
            if error.code != "undo_failed":
                self._notebook.swapping(None)
                remove(self._script)
            raise
        self._notebook.exchanged(self._aside)
        remove(self._script)

    @property
    def _outside(self) -> str | None:
        return self._target.engine.outside_of(self._target.database)

    def _command(self) -> str:
        if self._target.instance.kind is EngineKind.POSTGRESQL:
            return f"psql -X -d {self._outside} -f {self._script}"
        client = "mariadb" if self._target.instance.kind is EngineKind.MARIADB else "mysql"
        return f"{client} --binary-mode --comments --force < {self._script}"

    async def _steps(self, plan: SwapPlan) -> None:
        """All steps, or none."""
        for number, step in enumerate(plan.steps):
            try:
                await self._take(step, _LOCK_SECONDS)
            except VyaError as error:
                undone = await self._undo(plan, number, unsure=error.code in _UNSURE)
                raise self._stopped(step, error, undone=undone) from error
            faults.point("restore.swap_step")

    def _stopped(self, step: SwapStep, error: VyaError, *, undone: bool) -> TargetError:
        code, hint = "undo_failed", f"Bring it back: {self._command()}"
        if undone:
            in_use = error.code in ("target_in_use", "lock_timeout")
            code, hint = "target_in_use" if in_use else "swap_refused", _IN_PLACE
        if undone and error.code == "lock_timeout":
            hint += " Stop what uses its tables, or restore at another time."
        return TargetError(
            f"the exchange stopped at '{step.what}': {error.message}",
            code=code,
            hint=hint,
            instance=self._target.instance.id,
            database=self._target.database,
        )

    async def _undo(self, plan: SwapPlan, done: int, *, unsure: bool) -> bool:
        """Take the first ``done`` steps back; whether all of it worked.

        ``unsure``: the one behind them may have happened. It is taken back as well, and the server may say that there
        is nothing to take back.
        """
        good = True
        for step in plan.undo(done + unsure):
            is_doubtful = unsure and step.statement == plan.steps[done].undo
            good = await self._taken_back(step, may_be_absent=is_doubtful) and good
        return good and await self._is_cleared(plan.aside)

    async def _taken_back(self, step: SwapStep, *, may_be_absent: bool) -> bool:
        try:
            await self._take(step, _UNDO_SECONDS)
        except VyaError as error:
            if may_be_absent and error.code not in _UNSURE and "exist" in error.message:
                return True
            _log.error("restore.undo_failed", step=step.what, error=error.message)
            return False
        return True

    async def _is_cleared(self, aside: str) -> bool:
        """Whether nothing of the original is aside any more; an empty database of ours goes."""
        engine, probe, instance = self._target.engine, self._site.probe, self._target.instance
        try:
            if not await probe.number(instance, engine.exists_sql(aside), self._outside):
                return True
            if isinstance(engine, PostgreSQL) or await probe.number(instance, engine.is_empty_sql(aside)):
                return False
            await self._execute(engine.drop_database_sql(aside, self._target.server), None)
        except VyaError as error:
            _log.error("restore.undo_failed", step=f"look at {aside}", error=error.message)
            return False
        return True

    async def _take(self, step: SwapStep, seconds: int) -> None:
        is_postgresql = self._target.instance.kind is EngineKind.POSTGRESQL
        limit = [] if is_postgresql else [f"SET SESSION lock_wait_timeout = {seconds}"]
        await self._execute([*limit, *step.script], step.database)

    async def _execute(self, statements: Collection[str], database: str | None) -> None:
        place = database or self._outside
        await self._site.probe.execute(self._target.instance, list(statements), place)


def way_back(plan: SwapPlan, target: Target) -> str:
    """Every undo, last step first, as a script that goes on after the errors of steps that never took place."""
    if plan.way_back:
        return f"-- Brings the original database back after an exchange that was cut short.\n{plan.way_back};\n"
    lines = ["-- Brings the original database back after an exchange that was cut short. Errors of steps that"]
    lines += ["-- never took place are to be expected.", ""]
    postgresql = target.instance.kind is EngineKind.POSTGRESQL
    for step in plan.undo(len(plan.steps)):
        lines.append(f"-- {step.what}".replace("\n", " ").replace("\r", " "))
        lines += [] if postgresql else [_FRESH_SESSION, "DELIMITER ;;"]
        lines += _use(step, target)
        lines += [f"{statement}{';' if postgresql else ';;'}" for statement in step.script]
        lines += [] if postgresql else ["DELIMITER ;"]
    if plan.tidy:
        lines += [
            f"-- remove {plan.aside}, if all of it is undone".replace("\n", " ").replace("\r", " "),
            _FRESH_SESSION,
        ]
        lines += [f"{statement};" for statement in plan.tidy]
    return "\n".join(lines) + "\n"


def _use(step: SwapStep, target: Target) -> list[str]:
    if step.database is None or target.instance.kind is EngineKind.POSTGRESQL:
        return []
    return [f"USE {target.engine.quote(step.database)};;"]
