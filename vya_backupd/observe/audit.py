"""The audit: a durable observer that writes events into a chained file of their own.

It follows the event table by number and keeps in the catalog what it has written last, so neither a crash nor a full
disk loses an event or writes one twice; while the file cannot be written, events wait in the catalog.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog

from vya_backupd.catalog import Catalog
from vya_backupd.errors import VyaError
from vya_backupd.model.event import Event
from vya_backupd.observe.audit_chain import Entry, Head
from vya_backupd.observe.audit_entry import entry_of, is_worthy
from vya_backupd.observe.audit_file import AuditFile
from vya_backupd.unbroken import to_its_end

_log = structlog.get_logger("vya.audit")

MARK = "audit.head"
_GATHER_SECONDS = 0.2
"""After something happened, until it is written down, with what follows at its heels. The catalog has it until then."""
_BATCH = 200
_WAITS = (1.0, 5.0, 15.0, 60.0)
"""Seconds until the next attempt while the file cannot be written."""


@dataclass(frozen=True, slots=True)
class AuditTerms:
    """Where the audit goes; ``encrypt`` makes a token of an entry, None leaves entries readable."""

    path: Path
    encrypt: Callable[[str], str] | None = None


class AuditTrail:
    """A part of the daemon. ``terms`` is asked before each batch: a reload may have changed them.

    ``failures`` counts attempts to write that failed; ``trouble`` is the last one's error while it lasts.
    """

    name = "audit"

    def __init__(self, catalog: Catalog, terms: Callable[[], AuditTerms], now: Callable[[], datetime]) -> None:
        self._catalog = catalog
        self._terms = terms
        self._now = now
        self._file: AuditFile | None = None
        self._head: Head | None = None
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self.failures = 0
        self.trouble: VyaError | None = None

    @property
    def complaint(self) -> str | None:
        """What is wrong, in words; None while all is well."""
        if self.trouble is None:
            return None
        return f"what happens is not written down, and waits in the catalog: {self.trouble.message}"

    async def run(self) -> None:
        """Write what happened and what happens, until cancelled."""
        unsubscribe = self._catalog.events.subscribe(lambda _: self._wake.set())
        streak = 0
        try:
            while True:
                self._wake.clear()
                streak = 0 if await self._try() else streak + 1
                if streak:
                    await asyncio.sleep(_WAITS[min(streak, len(_WAITS)) - 1])
                else:
                    await self._wake.wait()
                    await asyncio.sleep(_GATHER_SECONDS)
        finally:
            unsubscribe()

    def read_to(self) -> int:
        """The number of the last event that needs no reading any more; 0 before the first look at the file."""
        return self._head.event if self._head is not None else 0

    async def settle(self) -> None:
        """Write what is there, once."""
        await self._try()

    async def flushed(self) -> Head:
        """Write everything that has happened until now; the chain's head.

        Raises:
            StorageError: the file or the catalog cannot be written.
        """
        async with self._turn:
            try:
                head = await self._follow()
            except BaseException as error:
                # What is in the file may be ahead of what is known here: look again before the next line.
                self._head = None
                if isinstance(error, VyaError):
                    self._failed(error)
                raise
            if self.trouble is not None:
                _log.warning("audit.recovered", failures=self.failures)
            self.trouble = None
            return head

    async def _try(self) -> bool:
        with contextlib.suppress(VyaError):
            await self.flushed()
            return True
        return False

    def _failed(self, error: VyaError) -> None:
        self.failures += 1
        if self.trouble is None:
            _log.error("audit.failed", code=error.code, error=error.message, hint=error.hint)
        self.trouble = error

    async def _follow(self) -> Head:
        head = self._head or await self._begin()
        file = await self._opened()
        is_more = True
        while is_more and (found := await self._catalog.events.after(head.event, _BATCH)):
            is_more = len(found) == _BATCH
            items = [(each.id, self._entry(each.event)) for each in found if is_worthy(each.event)]
            if items:
                # Who is cancelled waits for the thread, or two would write at once.
                head = await to_its_end(asyncio.to_thread(file.append, head, items))
                self._head = head
                await self._catalog.marks.set(MARK, head.to_json())
            # Only in memory: events that are not written down are looked at again after a start, at no harm.
            head = self._head = replace(head, event=found[-1].id)
        self._head = head
        return head

    async def _begin(self) -> Head:
        """Where an earlier run, or a failed attempt, left the chain; what was not in order becomes an event."""
        known = Head.from_json(await self._catalog.marks.get(MARK))
        if not known.catalog:
            known = replace(known, catalog=secrets.token_hex(8))
            await self._catalog.marks.set(MARK, known.to_json())
        file = await self._opened()
        recovered = await asyncio.to_thread(file.recover, known)
        head = recovered.head
        if head != known:
            await self._catalog.marks.set(MARK, head.to_json())
        if recovered.kind:
            data = {"problem": recovered.kind, "finding": recovered.finding, "file": str(file.path)}
            await self._catalog.record(Event("audit.damaged", self._now(), data=data))
        return head

    async def _opened(self) -> AuditFile:
        path = self._terms().path
        if self._file is None or self._file.path != path:
            if self._file is not None:
                await asyncio.to_thread(self._file.close)
            self._file = AuditFile(path, lambda: self._now().isoformat(timespec="seconds"))
        return self._file

    def _entry(self, event: Event) -> Entry:
        entry = entry_of(event)
        encrypt = self._terms().encrypt
        return encrypt(json.dumps(entry, default=str)) if encrypt else entry
