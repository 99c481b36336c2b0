"""What may be asked about retention: the plan, with every reason. Applying it is an operation of kind ``prune``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from json.encoder import encode_basestring_ascii as _quoted

from vya_backupd.api.access import Role
from vya_backupd.api.route import Asked, Stream
from vya_backupd.api.wire import format_time
from vya_backupd.operations.judging import judge
from vya_backupd.operations.site import Site
from vya_backupd.policy.retention import Verdict, is_held


class RetentionPanel:
    """Implements ``api.route.Panel``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[Stream]:
        """See ``Panel``."""
        return [Stream("GET", "/v1/retention/plan", Role.VIEWER, self._plan, "application/json")]

    async def _plan(self, asked: Asked) -> AsyncGenerator[bytes]:
        """Every backup with its verdict, as it is judged; ``instance`` and ``database`` narrow it. One JSON object."""
        instance = asked.query.get("instance")
        totals = {"kept": 0, "kept_bytes": 0, "expired": 0, "expired_bytes": 0}
        before = b'{"backups": ['
        chosen = None if instance is None else [instance]
        async with aclosing(judge(self._site, chosen, asked.query.get("database"))) as judged:
            async for verdicts in judged:
                _add(totals, verdicts)
                if verdicts:
                    yield before + await asyncio.to_thread(self._text, verdicts, self._site.now())
                    before = b", "
        end = {"totals": totals, "cleanup_enabled": self._site.config.storage.retention.cleanup_enabled}
        yield (b"" if before == b", " else before) + b"], " + json.dumps(end).encode()[1:]

    def _text(self, verdicts: Sequence[Verdict], now: datetime) -> bytes:
        """The records, without the brackets of their list."""
        words = _Words(str(self._site.store.base_path))
        return ", ".join([_record(verdict, words, now) for verdict in verdicts]).encode()


class _Words:
    """JSON of what comes again and again: places, and the reasons, which thousands of backups have alike."""

    def __init__(self, base: str) -> None:
        self._base = f"{base}/"
        self._places: dict[tuple[str, str], str] = {}
        self._reasons: dict[tuple[str, ...], str] = {}

    def file(self, path: str) -> str:
        """The file of a backup, quoted."""
        return _quoted(self._base + path)

    def place(self, instance: str, database: str) -> str:
        """Both fields."""
        found = self._places.get((instance, database))
        if found is None:
            found = f'"instance": {_quoted(instance)}, "database": {_quoted(database)}'
            self._places[instance, database] = found
        return found

    def reasons(self, reasons: tuple[str, ...]) -> str:
        """The items of their list."""
        found = self._reasons.get(reasons)
        if found is None:
            found = self._reasons[reasons] = ", ".join(map(_quoted, reasons))
        return found


def _record(verdict: Verdict, words: _Words, now: datetime) -> str:
    """A verdict as JSON text, put together by hand: a hundred thousand of them are half of the time of a plan."""
    backup = verdict.backup
    kept = "true" if verdict.keep else "false"
    held = "true" if backup.hold is not None and is_held(backup.hold, now) else "false"
    return (
        f'{{"id": {_quoted(backup.id)}, {words.place(backup.instance, backup.database)}, '
        f'"type": "{backup.type.value}", "file": {words.file(backup.path)}, "size_bytes": {backup.size_bytes}, '
        f'"taken_at": "{format_time(backup.taken_at)}", "held": {held}, "keep": {kept}, '
        f'"reasons": [{words.reasons(verdict.reasons)}]}}'
    )


def _add(totals: dict[str, int], verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        word = "kept" if verdict.keep else "expired"
        totals[word] += 1
        totals[f"{word}_bytes"] += verdict.backup.size_bytes
