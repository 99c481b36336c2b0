"""Bugs that others had, for the bench to find: each function seeds one into the daemon that runs it.

They are loaded by ``seeding/sitecustomize.py`` before the daemon runs its first line, and patch what it is made of; the
product knows nothing of them. ``test_mutants`` says what each is caught by.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def nothing_is_synced() -> None:
    """Files are written and named, and the disk is never told."""
    _put(os, "fsync", lambda _: None)


def no_end_marker() -> None:
    """A dump that ends anywhere is a dump."""
    from vya_backupd.engines.scan_postgresql import PostgresqlScanner
    from vya_backupd.engines.scan_text import DumpScanner

    _put(DumpScanner, "_judge", lambda _self: None)
    _put(PostgresqlScanner, "_judge", lambda _self: None)


def exit_code_lost() -> None:
    """However a dump tool ended, it ended well."""
    from vya_backupd.operations.dump_run import DumpRun

    async def wait(_self: Any, processes: Sequence[Any]) -> None:
        for process in processes:
            await process.wait()

    _put(DumpRun, "_raise_first_failure", wait)


def room_is_made_first() -> None:
    """The oldest backups of a database go before its new one is there."""
    from vya_backupd.operations.dumping import Dumper

    write = Dumper._write

    async def delete_then_write(self: Any, *arguments: Any) -> Any:
        backups = self._site.catalog.backups
        found = await backups.find(self._job.instance.id, self._job.database)
        for each in found[1:]:
            if each.manifest.hold is None:
                await asyncio.to_thread(self._site.store.delete, each)
                await backups.remove(each.id, None)
        return await write(self, *arguments)

    _put(Dumper, "_write", delete_then_write)


def holds_mean_nothing() -> None:
    """Retention does not look at holds, neither in the catalog nor in the manifest."""
    from vya_backupd.operations import prune
    from vya_backupd.policy import retention

    for module in (prune, retention):
        _put(module, "is_held", lambda _hold, _now: False)


def listed_before_published() -> None:
    """The catalog has a backup before the store has."""
    from vya_backupd.model.backup import StoredBackup
    from vya_backupd.operations.dumping import Dumper

    async def record_then_publish(self: Any, partial: Any, path: str, result: Any) -> Any:
        manifest = result.manifest(Path(path).name)
        await self._record(StoredBackup(manifest, path))
        return await self._site.store.publish(partial, path, manifest)

    _put(Dumper, "_publish", record_then_publish)


def failures_fill_places() -> None:
    """What failed takes a place among the backups that retention keeps."""
    from vya_backupd.errors import VyaError
    from vya_backupd.operations import judging
    from vya_backupd.operations.dumping import Dumper
    from vya_backupd.policy import retention

    failed: list[str] = []
    run, decide = Dumper.run, retention.decide

    async def note_failures(self: Any, *arguments: Any) -> Any:
        try:
            return await run(self, *arguments)
        except VyaError:
            failed.append(self._job.database)
            raise

    def decide_with_ghosts(outlines: Any, terms: Any) -> Any:
        known = list(outlines)
        ghosts = [
            each._replace(id=f"ghost-{number}", taken_at=terms.now)
            for number, database in enumerate(failed)
            for each in known
            if each.database == database
        ]
        first = {each.database: each for each in ghosts}
        verdicts = decide([*known, *first.values()], terms)
        return [each for each in verdicts if not each.backup.id.startswith("ghost")]

    _put(Dumper, "run", note_failures)
    _put(judging, "decide", decide_with_ghosts)


def partials_stay() -> None:
    """What a crash left in the temporary folder is nobody's business."""
    from vya_backupd.storage.partials import TempFolder

    _put(TempFolder, "sweep", lambda _self: [])


def errors_are_passed_over() -> None:
    """A restore goes on behind statements that failed, and ends well."""
    from vya_backupd.engines import postgresql

    _put(postgresql, "_SILENT", ("--no-psqlrc", "--quiet"))


def a_segment_is_lost() -> None:
    """The rows of one table never come into the file."""
    from vya_backupd.model.backup import Section
    from vya_backupd.pipeline.ordered import OrderedFile

    add = OrderedFile.add

    def add_most(self: Any, segment: Any, turn: Any) -> None:
        if segment.section is not Section.DATA or "ledger" not in segment.object_name:
            add(self, segment, turn)

    _put(OrderedFile, "add", add_most)


def events_come_later() -> None:
    """A change is committed first, and what tells of it in a transaction of its own."""
    from vya_backupd.catalog.ledger import Ledger

    write = Ledger.write

    async def nothing(_: Any) -> None:
        return None

    async def write_twice(self: Any, change: Any, events: Any = (), counts: Any = ()) -> Any:
        answer = await write(self, change)
        told = events(answer) if callable(events) else events
        if told or counts:
            await write(self, nothing, told, counts)
        return answer

    _put(Ledger, "write", write_twice)


def _put(where: Any, name: str, value: Any) -> None:
    """Replace what is there, which must be there."""
    getattr(where, name)
    setattr(where, name, value)


MUTANTS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        nothing_is_synced,
        no_end_marker,
        exit_code_lost,
        room_is_made_first,
        holds_mean_nothing,
        listed_before_published,
        failures_fill_places,
        partials_stay,
        errors_are_passed_over,
        a_segment_is_lost,
        events_come_later,
    )
}
"""Every bug, by name."""
