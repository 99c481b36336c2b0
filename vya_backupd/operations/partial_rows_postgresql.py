"""Rows alone into PostgreSQL tables that are there: what must not act meanwhile, and what is told of the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from vya_backupd.engines import tables_postgresql as sql
from vya_backupd.engines.kinds_postgresql import EntryKind
from vya_backupd.engines.pick_postgresql import Listing, Picked, positions
from vya_backupd.engines.rename_postgresql import Pair
from vya_backupd.model.backup import Section
from vya_backupd.operations.selection import LARGE_OBJECTS, Contents
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target


@dataclass(frozen=True, slots=True)
class Quiet:
    """SQL before the rows and behind them.

    Triggers do not fire; a foreign key among the tables is looked at when the rows of both are there, since no order of
    tables is right for all of them.
    """

    before: bytes = b""
    after: bytes = b""


NOT_QUIET = Quiet()
"""Nothing would act."""


async def quiet(site: Site, target: Target, filled: Sequence[str], encoded: Callable[[str], bytes]) -> Quiet:
    """Ask the target what would act on rows of these tables. ``encoded``: a name in the encoding of the dump."""
    instance, database, mine = target.instance, target.database, frozenset(filled)
    triggers, keys = await site.probe.answers(instance, [sql.TRIGGERS, sql.FOREIGN_KEYS], database)
    before, after = [], []
    for schema, table, name, state in triggers:
        if f"{schema}.{table}" in mine:
            where: Pair = (encoded(str(schema)), encoded(str(table)))
            before.append(sql.disable_trigger(where, encoded(str(name))))
            after.append(sql.enable_trigger(where, encoded(str(name)), str(state)))
    waiting = [row for row in keys if not (mine.isdisjoint(row[4]) or mine.isdisjoint(row[5]))]
    for schema, table, name, *_ in waiting:
        before.append(sql.defer_key((encoded(str(schema)), encoded(str(table))), encoded(str(name))))
    if waiting:
        after.append(sql.CHECK_KEYS)
    for schema, table, name, deferrable, *_ in waiting:
        where = (encoded(str(schema)), encoded(str(table)))
        after.append(sql.restore_key(where, encoded(str(name)), deferrable=bool(deferrable)))
    return Quiet(b"".join(before), b"".join(after))


def chosen_positions(picked: Picked, listing: Listing, text: bytes, there: Collection[str], *, whole: bool) -> bytes:
    """Where sequences stand that are there: those of the tables' columns, or with rows of all tables (``whole``) all."""
    if whole:
        return positions(text, listing.dialect, frozenset(listing.sequences()) & frozenset(there))
    return picked.positions(text, listing.dialect) if picked.sequences <= frozenset(there) else b""


def left_out(contents: Contents, listing: Listing) -> list[str]:
    """What the rows of all tables are not, for people."""
    notes = []
    if contents.extents(Section.DATA, [LARGE_OBJECTS]):
        notes.append("large objects are left out: a restore of the whole database brings them")
    if views := [each.name for each in listing.post if each.kind is EntryKind.REFRESH]:
        notes.append(f"materialized views are not refreshed: {', '.join(views[:5])}{', ...' if views[5:] else ''}")
    return notes
