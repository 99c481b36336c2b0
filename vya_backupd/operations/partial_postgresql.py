"""Single tables into a PostgreSQL database: one session, one transaction. What fails leaves nothing.

Where a name is taken, the tables are made in a schema of their own, which nobody else sees, and get their place when
they are whole: the former table is dropped in the same transaction, or the new one gets another name. So the table that
is there is locked for the moment of the exchange alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vya_backupd import faults
from vya_backupd.engines import tables_postgresql as sql
from vya_backupd.engines.kinds_postgresql import EntryKind
from vya_backupd.engines.pick_postgresql import Picked, Wanted, pick, script
from vya_backupd.engines.postgresql_guard import guards, unrestricted
from vya_backupd.engines.postgresql_statement_text import needs_of
from vya_backupd.engines.rename_postgresql import CopyNames, Pair, pair, renamed
from vya_backupd.engines.transaction_postgresql import SAY_NUMBER
from vya_backupd.errors import ServerError, TargetError, UsageError, VyaError
from vya_backupd.model.backup import Extent, Section
from vya_backupd.operations.belongings import Notebook, token
from vya_backupd.operations.fitting import fit_of
from vya_backupd.operations.partial_feeding import feed_client
from vya_backupd.operations.partial_outcome import refuse_unless_committed
from vya_backupd.operations.partial_rows_postgresql import NOT_QUIET, Quiet, chosen_positions, left_out, quiet
from vya_backupd.operations.partial_there import There, look
from vya_backupd.operations.preflight_postgresql import refuse_missing
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.selection import Contents, Parts
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source
from vya_backupd.operations.targets import Target
from vya_backupd.pipeline.pieces import Piece, Rows, Script


@dataclass(frozen=True, slots=True)
class Choice:
    """The tables, and where each goes: ``places`` by the names in the dump, ``replaced`` those that give way."""

    picked: Picked
    places: Mapping[str, str]
    replaced: tuple[str, ...]
    staged: bool
    positions: bytes
    quiet: Quiet = NOT_QUIET
    new_schemas: tuple[str, ...] = ()


class PostgresqlTables:
    """The plan and the script for one restore of tables."""

    def __init__(self, site: Site, target: Target, source: Source, contents: Contents, request: RestoreRequest) -> None:
        self._site = site
        self._target = target
        self._source = source
        self._choice: Choice | None = None
        self._contents = contents
        self._request = request
        self._fit = fit_of(request)
        self._parts = Parts(not request.data_only, not request.schema_only, not request.no_indexes)
        if contents.listing is None:
            raise UsageError("this is no backup of PostgreSQL")
        self._listing = contents.listing
        self._codec = contents.listing.dialect.codec

    async def choose(self, names: Sequence[str], positions: bytes) -> Choice:
        """Decide where everything goes. ``positions`` is the text of all sequences' positions.

        Raises:
            TargetError: what stands there forbids it.
        """
        self._choice = await self._chosen(names, positions)
        return self._choice

    async def refuse_lacking(self) -> None:
        """Ask the server for what the chosen tables name. Raises TargetError ``target_lacks``."""
        if not self._request.data_only:
            texts = [script(self.choice.picked.schema), script(self.choice.picked.post)]
            facts, needs = self._contents.manifest.facts, needs_of(texts, self._fit.unwanted)
            await refuse_missing(self._site, facts, self._target, needs, self._request)

    @property
    def choice(self) -> Choice:
        """What was decided."""
        if self._choice is None:
            raise UsageError("nothing was chosen yet", code="internal")
        return self._choice

    @property
    def notes(self) -> Sequence[str]:
        """See ``TablesJob``."""
        if self._request.data_only:
            return () if self._request.tables else left_out(self._contents, self._listing)
        schemas = (f"there is no schema {name}: it is created" for name in self.choice.new_schemas)
        return (*self.choice.picked.left_out, *schemas)

    @property
    def extents(self) -> tuple[Extent, ...]:
        """See ``TablesJob``."""
        found = self._contents.extents(Section.DATA, self.choice.picked.tables)
        return tuple(found) if self._parts.data else ()

    async def run(
        self, operation: str, notebook: Notebook, database: str, tell: Callable[[str, int], None]
    ) -> list[str]:
        """See ``TablesJob``. One transaction: there is nothing to be written down."""
        del notebook
        script = self.script(self.choice, operation)
        notes = await self._fed(database, script, tell)
        faults.point("restore.fed")
        tell("analyzing", 0)
        statements = [f"ANALYZE {self._quoted(place)}" for place in self.choice.places.values()]
        try:
            await self._site.probe.execute(self._target.instance, statements, database=database)
        except ServerError as error:
            notes.append(f"everything is restored, but statistics were not all gathered; run ANALYZE: {error.message}")
        return notes

    async def _fed(self, database: str, script: Script, tell: Callable[[str, int], None]) -> list[str]:
        """Feed the client. Returns what is to be noted when it failed and everything is there."""
        said: list[str] = []
        try:
            await feed_client(self._site, self._target, self._source.path, database, script, tell, said.append)
        except VyaError as error:
            words = "\n".join(said)
            return [await refuse_unless_committed(self._site, self._target, database, words, error)]
        return []

    async def _chosen(self, names: Sequence[str], positions: bytes) -> Choice:
        there = await look(self._site, self._target)
        is_there = (there.has_table, there.publications.__contains__, there.functions.__contains__)
        wanted = Wanted(tuple(names), self._parts.indexes, *is_there)
        picked = pick(self._listing, wanted)
        places = self._places(picked, names[0])
        if self._request.data_only:
            return await self._choose_rows(picked, there, positions)
        chosen = picked.positions(positions, self._listing.dialect)
        taken = tuple(place for place in places.values() if place in there.relations)
        attached = {each.name for each in picked.schema if each.kind is EntryKind.PARTITION}
        lone = [place for name, place in places.items() if place in there.partitions and name not in attached]
        await self._refuse_taken(taken, there, lone)
        clashes = any(self._plain(each) in there.relations for each in picked.relations)
        schemas = {self._listing.split(place)[0] for place in places.values()}
        return Choice(
            picked,
            places,
            taken,
            staged=clashes or self._request.target_table is not None,
            positions=chosen,
            new_schemas=tuple(sorted(schemas - there.schemas)),
        )

    def _places(self, picked: Picked, first: str) -> dict[str, str]:
        """Where each table goes. With another name for the first, its partitions are called after it, too."""
        new = self._request.target_table
        if new is None:
            return {name: name for name in picked.tables}
        old_schema, old = self._listing.split(first)
        schema, name = ("", new) if "." not in new else self._listing.split(new)
        found = {first: f"{schema or old_schema}.{name}"}
        for each in picked.tables[1:]:
            own_schema, own = self._listing.split(each)
            rest = own.removeprefix(f"{old}_")
            found[each] = f"{own_schema if own_schema != old_schema else schema or old_schema}.{name}_{rest}"
        return found

    async def _choose_rows(self, picked: Picked, there: There, positions: bytes) -> Choice:
        """Rows go into tables that are there, and empty."""
        filled = [name for name in picked.tables if self._contents.extents(Section.DATA, [name])]
        if missing := [name for name in filled if not there.has_table(name)]:
            raise self._refused(f"there is no table {missing[0]} to put rows into", self._request.way_to_tables)
        if not self._request.append:
            queries = [sql.has_rows(self._quoted(name)) for name in filled]
            counts = await self._site.probe.numbers(self._target.instance, queries, self._target.database)
            if full := [name for name, count in zip(filled, counts, strict=True) if count]:
                raise self._refused(f"table {full[0]} has rows", "Add to them with --append, or empty it first.")
        still = await quiet(self._site, self._target, filled, self._encoded)
        whole = not self._request.tables
        kept = chosen_positions(picked, self._listing, positions, there.relations, whole=whole)
        kept = b"" if self._request.append else kept
        places = {name: name for name in picked.tables}
        return Choice(picked, places, (), staged=False, positions=kept, quiet=still)

    async def _refuse_taken(self, taken: Sequence[str], there: There, lone: Sequence[str]) -> None:
        for name in taken:
            if not there.has_table(name):
                raise self._refused(f"{name} exists and is no table", "Choose another name with --target-table.")
            if not self._request.overwrite:
                hint = (
                    "Restore it beside with --target-table NAME or --target-database NAME, or replace it: --overwrite."
                )
                raise self._refused(f"table {name} exists", hint)
        if lone:
            hint = "Restore it beside with --target-table NAME, or the whole partitioned table."
            raise self._refused(f"{lone[0]} is a partition of a table that stays", hint)
        if taken:
            quoted = [self._quoted(name) for name in taken]
            rows = await self._site.probe.fetch(self._target.instance, sql.dependents(quoted), self._target.database)
            if rows:
                named = ", ".join(str(what) for (what,) in rows[:5])
                hint = (
                    "Drop what depends on it first and make it again after, or restore beside with --target-table NAME."
                )
                raise self._refused(f"{named} would be lost with {', '.join(taken)}", hint)

    def script(self, choice: Choice, operation: str) -> Script:
        """The whole session's text."""
        if self._request.data_only:
            return self._rows_script(choice)
        moved = self._staging(choice, operation) if choice.staged else {}
        picked, names = choice.picked, CopyNames(moved)
        rows = Rows(self.extents, (lambda piece: _copied(names, piece)) if moved else None)
        return [
            self._outer(self._contents.header) + b"\nBEGIN;\n",
            b"".join(sql.create_schema(self._encoded(name)) for name in choice.new_schemas),
            b"".join(sql.create_schema(name) for name in dict.fromkeys(new[0] for new in moved.values())),
            _moved(self._fit.whole(script(picked.schema)), moved),
            rows,
            _moved(choice.positions, moved) if self._parts.data else b"",
            _moved(self._fit.whole(script(picked.post)), moved),
            self._checks(picked, moved) if self._parts.data else b"",
            self._exchange(choice, moved) if choice.staged else b"",
            SAY_NUMBER + b"COMMIT;\n",
            self._outer(self._contents.footer),
        ]

    def _rows_script(self, choice: Choice) -> Script:
        places = [pair(self._quoted(name).encode(self._codec)) for name in choice.picked.tables]
        filled = [
            place
            for name, place in zip(choice.picked.tables, places, strict=True)
            if self._contents.extents(Section.DATA, [name])
        ]
        guard = b"" if self._request.append else b"".join(sql.refuse_rows(each) for each in filled)
        return [
            self._outer(self._contents.header) + b"\nBEGIN;\n",
            b"".join(sql.lock(each) for each in filled) + guard,
            choice.quiet.before,
            Rows(self.extents),
            choice.positions,
            choice.quiet.after,
            b"" if self._request.append else self._checks(choice.picked, {}),
            SAY_NUMBER + b"COMMIT;\n",
            self._outer(self._contents.footer),
        ]

    def _outer(self, text: bytes) -> bytes:
        """Header or footer for our psql, which is in restricted mode already where it can be."""
        return unrestricted(text) if guards(self._target.tools.client) else text

    def _staging(self, choice: Choice, operation: str) -> dict[Pair, Pair]:
        """Where each relation is made: a schema for each of theirs."""
        schemas = sorted({each[0] for each in choice.picked.relations})
        stages = {schema: f"_vya_{token(operation)}_{number}".encode() for number, schema in enumerate(schemas)}
        return {each: (stages[each[0]], each[1]) for each in choice.picked.relations}

    def _checks(self, picked: Picked, moved: Mapping[Pair, Pair]) -> bytes:
        counted = [(picked.pairs[name], self._contents.rows(name)) for name in picked.tables]
        return b"".join(sql.count_rows(moved.get(table, table), rows) for table, rows in counted if rows is not None)

    def _exchange(self, choice: Choice, moved: Mapping[Pair, Pair]) -> bytes:
        """Drop what gives way, give names, and move everything to its place."""
        moves = []
        for name, place in choice.places.items():
            old = choice.picked.pairs[name]
            schema, new = self._listing.split(place)
            moves.append(sql.Move(moved[old], (self._encoded(schema), self._encoded(new) if place != name else old[1])))
        dropped = [pair(self._quoted(name).encode(self._codec)) for name in choice.replaced]
        return sql.exchange(moves, dropped)

    def _quoted(self, name: str) -> str:
        schema, table = self._listing.split(name)
        return f"{self._target.engine.quote(schema)}.{self._target.engine.quote(table)}"

    def _encoded(self, name: str) -> bytes:
        return name.encode(self._codec, "replace")

    def _plain(self, name: Pair) -> str:
        return b".".join(name).decode(self._codec, "backslashreplace")

    def _refused(self, what: str, hint: str) -> TargetError:
        where = self._target
        return TargetError(
            f"{what} in {where.database!r} on {where.instance.id}",
            code="target_not_empty",
            hint=hint,
            instance=where.instance.id,
            database=where.database,
        )


def _moved(text: bytes, moved: Mapping[Pair, Pair]) -> bytes:
    return renamed(text, moved) if moved else text


def _copied(names: CopyNames, piece: Piece) -> bytes:
    return names.rewrite(piece.text, continued=piece.label.continued)
