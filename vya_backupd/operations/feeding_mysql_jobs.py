"""What is to be done to feed one file to MySQL or MariaDB, as jobs that wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vya_backupd.dumpfile.reader import Walk
from vya_backupd.engines import mysql_sessions
from vya_backupd.engines.cut_mysql import TableText, folded, table_text, unquoted
from vya_backupd.model.backup import Section
from vya_backupd.operations.feeding import Feeding
from vya_backupd.operations.feeding_lanes import Progress
from vya_backupd.pipeline.board import Batch, Job
from vya_backupd.pipeline.files import FileSource
from vya_backupd.pipeline.restore import Rewrite, texts
from vya_backupd.pipeline.units import Survey, Unit, UnitReader, Units, survey
from vya_backupd.policy.restore_lanes import first_to_load, index_work, lanes_of

_LATE_KEYS_FROM = 4 << 20
"""Bytes of rows from which on a table gets its keys after them."""
_FIRST = 1 << 60
"""Priority of keys over rows: what takes long shall not begin last."""


class MysqlJobs:
    """The jobs of one file."""

    def __init__(self, source: FileSource, feeding: Feeding, sessions: int) -> None:
        self._source = source
        self._sessions = sessions
        self._feeding = feeding
        self._progress = Progress(feeding.tell)
        self._reader = UnitReader(source, feeding.site.pool, self._progress.add)
        self._survey = Survey()
        self._keys: dict[str, tuple[bytes, ...]] = {}
        self._gone: set[str] = set()
        self._transactional: set[str] = set()
        self._foreign: list[bytes] = []

    @property
    def raw_size(self) -> int:
        """Bytes of dump in the file."""
        return sum(self._survey.raw_sizes.values())

    def read(self) -> None:
        """Learn what the file holds, and which tables are large, transactional, and can get their keys later.

        Raises:
            IntegrityError: damage.
        """
        self._survey = survey(self._source)
        large = {units.name for units in self._survey.data.values() if units.raw_size >= _LATE_KEYS_FROM}
        if not large:
            return
        pinned: set[str] = set()
        for text in self._section(Section.SCHEMA):
            table = table_text(text)
            if table is not None and unquoted(table.name) in large:
                self._learn(table)
            if table is not None and not table.foreign:
                pinned.update(map(folded, table.references))
        self._keys = {name: keys for name, keys in self._keys.items() if name.casefold() not in pinned}
        self._gone = {name.casefold() for name in self._keys}

    def _learn(self, table: TableText) -> None:
        """What can be done otherwise with a large table."""
        self._transactional.add(unquoted(table.name))
        if table.late:
            self._keys[unquoted(table.name)] = table.thinned().keys

    def opening(self, settings: bytes) -> bytes:
        """What every session executes first: the dump's header, then ``settings``."""
        return b"".join(self._texts(Section.HEADER)) + settings

    def batches(self) -> list[Batch]:
        """Definitions, then rows, then keys of large tables, then foreign keys, then the rest."""
        tables, keys = self._survey.data.values(), self._keys_work()
        sizes = {units.name: units.raw_size for units in tables}
        first, lanes = first_to_load(sizes, keys), lanes_of(sizes, keys, self._sessions)
        return [
            _one("schema", self._definitions, frozenset()),
            *(self._rows_batch(units, first[units.name], lanes[units.name]) for units in tables),
            *(self._keys_batch(units) for units in tables if units.name in self._keys),
            _one("foreign keys", self._foreign_keys, frozenset({"schema", "rows", "keys"})),
            _one("rest", self._rest, frozenset({"foreign keys"})),
        ]

    def _keys_work(self) -> dict[str, int]:
        """What the keys of each large table take that come after its rows."""
        found = self._survey.data
        return {
            name: index_work(found[name].rows, found[name].raw_size) * sum(key.count(b"\n  ADD ") for key in keys)
            for name, keys in self._keys.items()
        }

    def _rows_batch(self, units: Units, priority: int, lanes: int) -> Batch:
        jobs = (self._rows(unit) for unit in units)
        after = frozenset({"schema"})
        return Batch(_rows_of(units.name), jobs, units.count, priority, within="rows", after=after, lanes=lanes)

    def _rows(self, unit: Unit) -> Job:
        """Rows of one table. MySQL with GTIDs takes no two statements of MyISAM in one transaction."""
        name = unit[0].name
        if name in self._transactional:
            return Job(_rows_of(name), lambda: mysql_sessions.transaction(self._reader.texts(unit)))
        return Job(_rows_of(name), lambda: self._reader.texts(unit))

    def _keys_batch(self, units: Units) -> Batch:
        statements = self._keys[units.name]
        job = Job(f"keys of {units.name}", lambda: map(mysql_sessions.statement, statements))
        return Batch("keys", iter((job,)), priority=_FIRST + units.raw_size, after=frozenset({_rows_of(units.name)}))

    def _definitions(self) -> Iterator[bytes]:
        self._foreign.clear()
        yield from self._texts(Section.SCHEMA, self._thinned if self._gone else None)

    def _thinned(self, section: Section, number: int, text: bytes) -> bytes:
        """The text of a definition, without what is made later."""
        del section, number
        table = table_text(text)
        if table is None:
            return text
        is_large = unquoted(table.name) in self._keys
        if not is_large and not self._refers_to_large(table):
            return text
        thinned = table.thinned(keys=is_large)
        self._foreign += [thinned.foreign] if thinned.foreign else []
        return thinned.text

    def _refers_to_large(self, table: TableText) -> bool:
        """Whether a foreign key wants a key that is not there yet."""
        return not self._gone.isdisjoint(map(folded, table.references))

    def _foreign_keys(self) -> Iterator[bytes]:
        yield from map(mysql_sessions.statement, self._foreign)

    def _rest(self) -> Iterator[bytes]:
        """Triggers, events, routines, views; silent where events must be."""
        yield from self._feeding.fit.through(self._texts(Section.POST, self._feeding.silencer))
        yield from self._texts(Section.FOOTER)

    def _texts(self, section: Section, rewrite: Rewrite | None = None) -> Iterator[bytes]:
        """All of a section, in the order of the file, on its way to the server."""
        for text in self._section(section, rewrite):
            yield text
            self._progress.add(len(text))

    def _section(self, section: Section, rewrite: Rewrite | None = None) -> Iterator[bytes]:
        for text, _ in texts(self._source, self._feeding.site.pool, Walk(), frozenset({section}), rewrite):
            yield text


def _one(group: str, body: Callable[[], Iterator[bytes]], after: frozenset[str]) -> Batch:
    return Batch(group, iter((Job(group, body),)), after=after)


def _rows_of(name: str) -> str:
    return f"rows of {name}"
