"""Feeding PostgreSQL over several sessions.

Each session replays the header. The schema section runs in one; then the rows, segment by segment, over all of them,
those first that have most to follow, and each table over as few as get it done in time; a table's keys and indexes
begin when its rows are in; foreign keys come when all keys are there; whatever else the dump ends with runs in one
session, in the dump's own order (``engines.post_postgresql``).
Large objects are one unit, and sequences another, so each of them is restored by one session.
"""

from __future__ import annotations

import asyncio
import contextlib

from vya_backupd.dumpfile.reader import Walk
from vya_backupd.engines import postgresql_sessions as sessions
from vya_backupd.engines.cut_postgresql import Dialect, Entry, cut_entries, in_force, settings_behind
from vya_backupd.engines.post_postgresql import DATA, SCHEMA, Families, Step, arrange, data_group
from vya_backupd.engines.postgresql_guard import guards, unrestricted
from vya_backupd.engines.scan_postgresql import LARGE_OBJECTS
from vya_backupd.errors import VyaError
from vya_backupd.model.backup import Section
from vya_backupd.operations.feeding import Fed, Feeding
from vya_backupd.operations.feeding_lanes import Progress, run_clients
from vya_backupd.operations.feeding_serial import SerialFeeder
from vya_backupd.pipeline.board import Batch, Job
from vya_backupd.pipeline.files import FileSource, open_source
from vya_backupd.pipeline.restore import texts
from vya_backupd.pipeline.stop import Stop, run_in_thread
from vya_backupd.pipeline.units import Survey, Unit, UnitReader, Units, survey
from vya_backupd.policy.restore_lanes import first_to_load, index_work, lanes_of

LARGEST_TEXT = 16 << 20
"""Bytes of schema and post section that are held in memory to be cut; a dump with more is restored serially."""
_FIRST = 1 << 62
"""Priority of what cannot be divided, before that of rows, which fill every gap."""


class PostgresqlFeeder:
    """Several sessions: what large files of ours get."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def feed(self, feeding: Feeding) -> Fed:
        """See ``Feeder.feed``."""
        with open_source(feeding.source.path) as source:
            found = await run_in_thread("survey", lambda: survey(source), Stop())
            count = min(self._count, await _room(feeding))
            if not _is_suitable(found) or count < 2:
                return await SerialFeeder().feed(feeding)
            jobs = _Jobs(source, feeding, found, count)
            batches = await run_in_thread("survey", jobs.batches, Stop())
            try:
                await self._run(feeding, jobs, batches, count)
            except BaseException:
                await asyncio.shield(asyncio.ensure_future(_end_sessions(feeding)))
                raise
        return Fed(sum(found.raw_sizes.values()), count)

    async def _run(self, feeding: Feeding, jobs: _Jobs, batches: list[Batch], count: int) -> None:
        target = feeding.target
        command = target.engine.client_command(target.instance, feeding.database, target.tools, target.server)
        await run_clients(feeding, sessions.answering(command), count, batches, jobs.header, sessions.mark)


def _is_suitable(found: Survey) -> bool:
    """Whether the file can be taken apart."""
    return found.is_ordered and found.raw_sizes[Section.SCHEMA] + found.raw_sizes[Section.POST] <= LARGEST_TEXT


async def _room(feeding: Feeding) -> int:
    """How many sessions may be opened: what one session could do must not fail for more.

    A quarter of those that are free: the server takes a while to let an ended one go, and others come after these.
    """
    target, probe = feeding.target, feeding.site.probe
    return await probe.number(target.instance, sessions.FREE_SESSIONS, target.engine.maintenance_database) // 4


class _Jobs:
    """What is in a file, as batches for a board."""

    def __init__(self, source: FileSource, feeding: Feeding, found: Survey, sessions: int) -> None:
        self._source = source
        self._sessions = sessions
        self._pool = feeding.site.pool
        self._found = found
        self._client = feeding.target.tools.client
        self._fit = feeding.fit
        self._progress = Progress(feeding.tell)
        self._reader = UnitReader(source, self._pool, self._progress.add)
        self.header = b""

    def batches(self) -> list[Batch]:
        """All of it. Reads the header, the schema and the post section, which are small."""
        header, schema, post = (self._section(each) for each in (Section.HEADER, Section.SCHEMA, Section.POST))
        self.header = unrestricted(header) if guards(self._client) else header
        dialect = Dialect.of(header)
        definitions = cut_entries(schema, dialect)
        work = {name: index_work(units.rows, units.raw_size) for name, units in self._found.data.items()}
        ending = cut_entries(post, dialect, self._settings_before_post(definitions, schema))
        steps = arrange(ending, Families(definitions, dialect), work)
        first = Batch(SCHEMA, iter([Job("the schema", lambda: iter((schema,)))]))
        self._progress.add(len(header) + len(schema) + len(post))
        return [first, *self._rows(steps), *map(_batch, steps)]

    def _section(self, section: Section) -> bytes:
        found = texts(self._source, self._pool, Walk(), frozenset({section}))
        return self._fit.whole(b"".join(text for text, _ in found))

    def _settings_before_post(self, definitions: list[Entry], schema: bytes) -> tuple[bytes, ...]:
        """The settings that the first entry of the post section finds in one session."""
        last = definitions[-1].settings if definitions else ()
        data = self._found.last_data
        found = in_force(last, settings_behind(schema) + (settings_behind(self._reader.text(data)) if data else []))
        return tuple(each for each in found if not self._fit.unwanted(each))

    def _rows(self, steps: list[Step]) -> list[Batch]:
        data = self._found.data
        sizes = {name: units.raw_size for name, units in data.items()}
        afterwards = {name: sum(step.weight for step in steps if data_group(name) in step.after) for name in data}
        lanes = lanes_of(sizes, afterwards, self._sessions)
        for name, units in data.items():
            if units.count == 1:  # no more to be shared than what follows rows
                afterwards[name] += index_work(units.rows, units.raw_size)
        first = first_to_load(sizes, afterwards)
        return [self._rows_batch(units, first[name], lanes[name]) for name, units in data.items()]

    def _rows_batch(self, units: Units, priority: int, lanes: int) -> Batch:
        jobs = map(self._job, units)
        return Batch(
            data_group(units.name),
            jobs,
            units.count,
            priority,
            within=DATA,
            quick=True,
            after=frozenset({SCHEMA}),
            lanes=lanes,
        )

    def _job(self, unit: Unit) -> Job:
        name = unit[0].name
        if name == LARGE_OBJECTS and self._fit:
            return Job(f"data of {name}", lambda: self._fit.through(self._reader.texts(unit)))
        return Job(f"data of {name}", lambda: self._reader.texts(unit))


def _batch(step: Step) -> Batch:
    job = Job(step.what, lambda: iter((step.text,)))
    return Batch(
        step.group,
        iter((job,)),
        priority=_FIRST + step.weight,
        after=step.after,
        exclusive=step.exclusive,
        shared=step.shared,
    )


async def _end_sessions(feeding: Feeding) -> None:
    """End what the server still does for clients that are gone: nobody could drop the database meanwhile."""
    target = feeding.target
    with contextlib.suppress(VyaError):
        statement = sessions.end_sessions(feeding.database)
        await feeding.site.probe.execute(target.instance, [statement], database=target.engine.maintenance_database)
