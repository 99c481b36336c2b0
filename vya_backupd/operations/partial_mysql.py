"""Single tables into a database of MySQL or MariaDB, which cannot take definitions back.

The tables are made in a database of their own, which is written down before it is made and goes in any case. There
they get their rows, keys and foreign keys; what fails until then has touched nothing. One RENAME TABLE brings them to
their places, and the former ones out of the way; triggers, which do not follow it, are dropped before and made again
after (``engines.mysql_swap``).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vya_backupd import faults
from vya_backupd.engines import mysql_sql as sql
from vya_backupd.engines import mysql_swap
from vya_backupd.engines.cut_mysql import TableText, folded, table_text, unquoted
from vya_backupd.engines.mysql_definer_text import definers_in
from vya_backupd.errors import TargetError, UsageError, VyaError
from vya_backupd.model.backup import Extent, Section
from vya_backupd.model.instance import EngineKind
from vya_backupd.operations.belongings import Notebook, beside_name, token
from vya_backupd.operations.fitting import fit_of
from vya_backupd.operations.lending import definers_lent
from vya_backupd.operations.partial_feeding import feed_client
from vya_backupd.operations.preflight_mysql import definers_of
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.selection import Contents, Parts
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source
from vya_backupd.operations.swapping import Exchange
from vya_backupd.operations.targets import Target
from vya_backupd.pipeline.pieces import Rows, Script

_REFERENCES = re.compile(rb"\) REFERENCES (`[^`]*(?:``[^`]*)*`) \(")
_CHECK = re.compile(rb"(?<=\n)(  )CONSTRAINT `[^`]*(?:``[^`]*)*` (?=CHECK \()")
_ONE_TRANSACTION = b"SET autocommit=0;\n"
_CHECK_KEYS = b"SET UNIQUE_CHECKS=1;\n"
"""A dump switches them off, which is right for a table of its own; beside rows of others, keys must be looked at."""
_CHECK_REFERENCES = b"SET FOREIGN_KEY_CHECKS=1;\n"


@dataclass(frozen=True, slots=True)
class MysqlTables:
    """One restore of tables, decided.

    ``definitions`` are their texts in the backup, ``triggers`` those of their triggers, ``there`` the tables of the
    target.
    """

    site: Site
    target: Target
    source: Source
    contents: Contents
    request: RestoreRequest
    places: Mapping[str, str]
    replaced: tuple[str, ...]
    definitions: Mapping[str, bytes]
    triggers: bytes
    there: frozenset[str]
    doubts: tuple[str, ...] = ()

    @property
    def _parts(self) -> Parts:
        return Parts(not self.request.data_only, not self.request.schema_only, not self.request.no_indexes)

    @property
    def notes(self) -> Sequence[str]:
        """See ``TablesJob``."""
        if self.request.data_only and not self._references_can_be_checked:
            return (
                *self.doubts,
                "foreign keys among these tables are not checked: rows may come before those they refer to",
            )
        return self.doubts

    @property
    def extents(self) -> tuple[Extent, ...]:
        """See ``TablesJob``."""
        sections = [Section.DATA] * self._parts.data + [Section.POST] * self._parts.schema
        return tuple(each for section in sections for each in self.contents.extents(section, list(self.places)))

    async def run(
        self, operation: str, notebook: Notebook, database: str, tell: Callable[[str, int], None]
    ) -> list[str]:
        """See ``TablesJob``."""
        if self.request.data_only:
            await self._feed(database, self._rows_script(), tell)
            if not self.request.append:
                await self._check_rows(database, "The rows are there already. Empty the tables, and verify the file.")
            return []
        roles = (beside_name(database, f"{role}_{token(operation)}") for role in ("new", "old"))
        beside, aside = roles
        facts = self.contents.manifest.facts
        definers = definers_of(self.request, sorted(definers_in(self.triggers)))
        async with definers_lent(self.site, self.target, definers, [database, beside], notebook) as lent:
            notebook.making(beside)
            create = self.target.engine.create_database_sql(beside, facts.properties, self.target.server)
            await self.site.probe.execute(self.target.instance, create)
            try:
                notes = lent + await self._make(database, beside, tell)
                notes += await self._exchange(notebook, database, beside, aside)
            except BaseException:
                if not notebook.is_exchanging:  # else the way back leads over it
                    await asyncio.shield(asyncio.ensure_future(self._drop(notebook, beside)))
                raise
        return notes

    async def _make(self, database: str, beside: str, tell: Callable[[str, int], None]) -> list[str]:
        await self._feed(beside, self._script(), tell)
        faults.point("restore.fed")
        notes, foreign = self._foreign_keys(database, beside)
        tell("checking", 0)
        if foreign:
            await self.site.probe.execute(self.target.instance, foreign, database=beside)
        await self._check_rows(beside, "Nothing was changed. Verify the file.")
        return notes

    def _script(self) -> Script:
        names, contents = list(self.places), self.contents
        return [
            contents.header,
            b"".join(self._definition(name) for name in names),
            Rows(tuple(contents.extents(Section.DATA, names))) if self._parts.data else b"",
            fit_of(self.request).whole(self.triggers),
            contents.footer,
        ]

    def _rows_script(self) -> Script:
        rows = Rows(tuple(self.contents.extents(Section.DATA, list(self.places))))
        checks = _CHECK_KEYS + (_CHECK_REFERENCES if self._references_can_be_checked else b"")
        return [_ONE_TRANSACTION, self.contents.header, checks, rows, self.contents.footer, b"COMMIT;\n"]

    @property
    def _references_can_be_checked(self) -> bool:
        """Whether no row can refer to another one of these: the server looks at each reference at once."""
        texts = filter(None, map(table_text, self.definitions.values()))
        far = {folded(name) for text in texts for name in text.references}
        return far.isdisjoint(name.casefold() for name in self.places)

    def _definition(self, name: str) -> bytes:
        """CREATE TABLE without foreign keys, and where so wanted without keys but the primary one."""
        text = self.definitions[name]
        if self.places[name] != name and self.target.instance.kind is EngineKind.MYSQL:
            # Named checks are one to a database there; without a name they are called after the table.
            text = _CHECK.sub(b"\\g<1>", text)
        parsed = table_text(text)
        return text if parsed is None else parsed.thinned(keys=not self._parts.indexes).text

    def _foreign_keys(self, database: str, beside: str) -> tuple[list[str], list[str]]:
        """Notes on those left out, and the statements that make the others."""
        notes: list[str] = []
        made: list[str] = []
        if not self._parts.indexes:
            return notes, made
        for name, text in self.definitions.items():
            parsed = table_text(text)
            if parsed is not None:
                items = [
                    self._foreign_key(parsed, number, database, beside, notes) for number in sorted(parsed.foreign)
                ]
                if kept := [item for item in items if item]:
                    adds = ", ADD ".join(kept)
                    made.append(f"ALTER TABLE {sql.quote(beside)}.{sql.quote(name)} ADD {adds}")
        return notes, made

    def _foreign_key(self, table: TableText, number: int, database: str, beside: str, notes: list[str]) -> str:
        item = table.items[number].strip()
        if self.places[unquoted(table.name)] != unquoted(table.name):
            item = item[item.index(b" FOREIGN KEY (") :].strip()  # its name may be taken: it gets one of the server's
        found = _REFERENCES.search(item)
        if found is None:
            return item.decode()
        far = unquoted(found.group(1))
        if far not in self.places and far not in self.there:
            notes.append(f"a foreign key of {unquoted(table.name)} is left out: there is no table {far}")
            return ""
        where = beside if far in self.places else database
        head, tail = item[: found.start(1)].decode(), item[found.end(1) :].decode()
        return f"{head}{sql.quote(where)}.{sql.quote(far)}{tail}"

    async def _check_rows(self, database: str, hint: str) -> None:
        if not self._parts.data:
            return
        known = {name: rows for name in self.places if (rows := self.contents.rows(name)) is not None}
        queries = [sql.count_rows(database, name) for name in known]
        counted = await self.site.probe.numbers(self.target.instance, queries) if queries else []
        for (name, expected), found in zip(known.items(), counted, strict=True):
            if found != expected:
                raise VyaError(
                    f"{name} has {found} rows after the restore, {expected} were backed up",
                    code="restore_mismatch",
                    hint=hint,
                )

    async def _exchange(self, notebook: Notebook, database: str, beside: str, aside: str) -> list[str]:
        probe, instance = self.site.probe, self.target.instance
        original = await probe.tables_content(instance, database, self.replaced)
        restored = await probe.tables_content(instance, beside, list(self.places))
        plan = mysql_swap.exchange_tables(original, restored, aside, self.places)
        notes = []
        left = restored.of("TRIGGER") if any(old != new for old, new in self.places.items()) else []
        if left:
            notes.append(f"{len(left)} triggers are left out: they belong to the table under its own name")
        return notes + await Exchange(self.site, self.target, notebook, beside, aside).run(disconnect=False, plan=plan)

    async def _drop(self, notebook: Notebook, beside: str) -> None:
        drop = self.target.engine.drop_database_sql(beside, self.target.server)
        await self.site.probe.execute(self.target.instance, drop)
        notebook.gone(beside)

    async def _feed(self, database: str, script: Script, tell: Callable[[str, int], None]) -> None:
        await feed_client(self.site, self.target, self.source.path, database, script, tell)


async def choose(
    site: Site,
    target: Target,
    request: RestoreRequest,
    names: Sequence[str],
) -> tuple[dict[str, str], tuple[str, ...], frozenset[str]]:
    """Where each table goes, which ones give way, and what tables the target has.

    Raises:
        TargetError: what stands there forbids it.
    """
    places = {name: request.target_table or name for name in names}
    there = await _tables(site, target)
    taken = tuple(place for place in places.values() if place in there)
    views = [name for name in taken if there[name] != "BASE TABLE" and "VERSIONED" not in there[name]]
    if views:
        raise _refused(target, f"{views[0]} exists and is no table", "Choose another name with --target-table.")
    if request.data_only:
        await _refuse_rows(site, target, request, names, there)
        return places, (), frozenset(there)
    if taken and not request.overwrite:
        hint = "Restore it beside with --target-table NAME or --target-database NAME, or replace it: --overwrite."
        raise _refused(target, f"table {taken[0]} exists", hint)
    if taken:
        rows = await site.probe.fetch(target.instance, sql.outside_references(target.database, taken))
        if rows:
            named = ", ".join(f"{schema}.{table}" for schema, table in rows[:5])
            hint = (
                "Drop those foreign keys first and make them again after, or restore beside with --target-table NAME."
            )
            raise _refused(target, f"foreign keys of {named} point to {', '.join(taken)}", hint)
    return places, taken, frozenset(there)


async def _tables(site: Site, target: Target) -> dict[str, str]:
    if not target.exists:
        return {}
    rows = await site.probe.fetch(target.instance, sql.tables_of(target.database))
    return {str(name): str(kind) for name, kind in rows}


async def _refuse_rows(
    site: Site, target: Target, request: RestoreRequest, names: Sequence[str], there: Mapping[str, str]
) -> None:
    """Rows go into tables that are there, empty, and do nothing on their own."""
    if missing := [name for name in names if name not in there]:
        raise _refused(target, f"there is no table {missing[0]} to put rows into", request.way_to_tables)
    content = await site.probe.tables_content(target.instance, target.database, names)
    if triggers := content.of("TRIGGER"):
        hint = "Drop it and make it again after, or restore the table whole with --overwrite."
        raise _refused(target, f"trigger {triggers[0].name} would fire on every row", hint)
    queries = [sql.has_rows(target.database, name) for name in names]
    counts = await site.probe.numbers(target.instance, queries)
    full = [name for name, count in zip(names, counts, strict=True) if count]
    if full and not request.append:
        raise _refused(target, f"table {full[0]} has rows", "Add to them with --append, or empty it first.")


def refuse_odd_keys(definitions: Mapping[str, bytes]) -> None:
    """Foreign keys that are not understood would go on pointing to where the table was made. Raises UsageError."""
    for name, text in definitions.items():
        if b" FOREIGN KEY (" in text and table_text(text) is None:
            raise UsageError(
                f"the foreign keys of {name} cannot be taken apart",
                hint="Restore the database beside the original with --target-database, and take the table from there.",
            )


def _refused(target: Target, what: str, hint: str) -> TargetError:
    return TargetError(
        f"{what} in {target.database!r} on {target.instance.id}",
        code="target_not_empty",
        hint=hint,
        instance=target.instance.id,
        database=target.database,
    )
