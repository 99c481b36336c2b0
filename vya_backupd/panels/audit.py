"""The audit on the control socket: show its entries, prove its chain."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from vya_backupd.api.access import Role
from vya_backupd.api.route import Asked, Record, Route
from vya_backupd.api.wire import parse_time
from vya_backupd.errors import UsageError, VyaError
from vya_backupd.observe.audit import AuditTrail
from vya_backupd.observe.audit_chain import ChainCheck, Head, Opener, parse
from vya_backupd.observe.audit_file import by_age, check, forerunners, lines_of, unreadable
from vya_backupd.operations.site import Site

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are asked for; None is any. ``kind`` is an event's name or a pattern (``backup.*``)."""

    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    kind: str | None = None
    limit: int = 50

    def fits(self, entry: dict[str, Any]) -> bool:
        """Whether this entry is among them."""
        at = _time_of(entry)
        if (self.since and (at is None or at < self.since)) or (self.until and (at is None or at > self.until)):
            return False
        if self.actor is not None and self.actor not in (entry.get("actor"), str(entry.get("actor")).partition("(")[0]):
            return False
        names = (str(entry.get("event")), str(entry.get("kind", "")))
        return self.kind is None or any(fnmatchcase(name, self.kind) for name in names)


def _time_of(entry: dict[str, Any]) -> datetime | None:
    """When it was written down; None where it does not say, or says what is no time: somebody else wrote it."""
    try:
        at = datetime.fromisoformat(str(entry["at"]))
    except (KeyError, ValueError):
        return None
    return at if at.tzinfo else None


class AuditPanel:
    """Reads the files of the audit. What just happened is written down before anything is read."""

    def __init__(self, site: Site, trail: AuditTrail) -> None:
        self._site = site
        self._trail = trail

    def routes(self) -> list[Route]:
        """See ``Panel``. What others did is for operators alone."""
        return [
            Route("GET", "/v1/audit", Role.OPERATOR, self._show),
            Route("GET", "/v1/audit/verify", Role.OPERATOR, self._verify),
        ]

    async def _show(self, asked: Asked) -> Record:
        wanted = _wanted(asked)
        await self._trail.flushed()
        found = await asyncio.to_thread(entries, self._site.config.audit_path, wanted, self._site.settings.decrypt)
        return {"audit": found}

    async def _verify(self, _: Asked) -> Record:
        path, opener = self._site.config.audit_path, self._site.settings.decrypt
        head = await self._trail.flushed()
        return {"audit": await asyncio.to_thread(lambda: verified(forerunners(path), head, opener))}


def verified(paths: list[Path], head: Head | None, opener: Opener | None) -> Record:
    """The result of a check of these files: ``ok``, the ``files``, how many ``lines``, and every break.

    Raises:
        StorageError: a file cannot be read.
    """
    ordered = by_age(paths)
    chain = ChainCheck(head, opener)
    check(ordered, chain)
    return {
        "ok": not chain.problems,
        "files": [str(path) for path in ordered],
        "lines": chain.lines,
        "encrypted": chain.encrypted,
        "first": chain.first_seq,
        "last": chain.last_seq,
        "compared_with_catalog": head is not None,
        "problems": [asdict(problem) for problem in chain.problems],
    }


def entries(path: Path, wanted: Wanted, opener: Opener | None) -> list[Record]:
    """The newest entries that fit, oldest first, each with its number as ``seq``.

    A line that is damaged, or that no key opens, is shown as what it is.
    """
    newest: deque[Record] = deque(maxlen=wanted.limit)
    for file in forerunners(path):
        newest.extend(each for each in _entries_of(file, opener) if wanted.fits(each))
    return list(newest)


def _entries_of(file: Path, opener: Opener | None) -> Iterator[Record]:
    try:
        for number, raw in enumerate(lines_of(file), 1):
            yield _entry(file, number, raw, opener)
    except (OSError, EOFError) as error:
        raise unreadable(file, error) from error


def _entry(file: Path, number: int, raw: bytes, opener: Opener | None) -> Record:
    try:
        line = parse(raw)
    except ValueError as error:
        return {"event": "audit.unreadable", "facts": {"file": str(file), "line": number, "problem": str(error)}}
    entry: Any = line.entry
    if isinstance(entry, str):
        try:
            entry = dict(json.loads(opener(entry))) if opener else {"event": "audit.encrypted"}
        except (VyaError, ValueError, TypeError, RecursionError):
            entry = {"event": "audit.encrypted", "facts": {"problem": "no key at hand opens this entry"}}
    if line.opened is not None:
        entry = {"at": line.opened, **entry}
    return {"seq": line.seq, **entry}


def _wanted(asked: Asked) -> Wanted:
    moment: Callable[[str], datetime | None] = lambda key: parse_time(asked.query[key]) if key in asked.query else None  # noqa: E731
    text = asked.query.get("limit", "50")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST:
        raise UsageError(f"'limit' must be a number from 1 to {_MOST}")
    return Wanted(moment("since"), moment("until"), asked.query.get("actor"), asked.query.get("kind"), int(text))
