"""Metrics pushed to a Pushgateway, for sites that nobody can scrape.

Every push replaces the whole group of this job and instance. A gateway that does not answer is no trouble of the
backups': failures are counted, said once when they begin and once when they are over, and the next turn tries again.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit

import aiohttp

from vya_backupd.errors import VyaError
from vya_backupd.model.event import Event
from vya_backupd.observe.metrics import TEXT_TYPE

PUSH_SECONDS = 10.0
"""How long one push may take."""

_OFF_SECONDS = 30.0
"""How often it is looked whether a reload has named a gateway."""
_MOST_ANSWER = 1000
"""Bytes of an answer that are read: it may have no end."""


@dataclass(frozen=True, slots=True)
class PushTerms:
    """Where to push, and how often (seconds). ``job`` and ``instance`` are the group that is replaced."""

    url: str
    job: str
    instance: str
    interval: float

    @property
    def target(self) -> str:
        """The address of the group."""
        group = f"metrics/{_part('job', self.job)}/{_part('instance', self.instance)}"
        return f"{self.url.rstrip('/')}/{group}"

    @property
    def gateway(self) -> str:
        """The gateway's name in logs, without a login that the address may hold."""
        parts = urlsplit(self.url)
        return parts.hostname + (f":{parts.port}" if parts.port else "") if parts.hostname else ""


class Pusher:
    """A part of the daemon. ``terms`` are those of the configuration in force, None while there is no gateway.

    ``render`` gives the metrics in the text format; ``record`` writes events.
    """

    name = "push"

    def __init__(
        self,
        terms: Callable[[], PushTerms | None],
        render: Callable[[], Awaitable[bytes]],
        record: Callable[[Event], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self._terms = terms
        self._render = render
        self._record = record
        self._now = now
        self._counts = Counter[str]()
        self._failing = False

    @property
    def counts(self) -> Mapping[str, int]:
        """Pushes since the start, by outcome; empty without a gateway."""
        return {"failed": 0, "succeeded": 0} | self._counts if self._terms() or self._counts else {}

    async def run(self) -> None:
        """See ``Part``."""
        while True:
            terms = self._terms()
            await asyncio.sleep(terms.interval if terms else _OFF_SECONDS)
            if terms := self._terms():
                await self.push(terms)

    async def settle(self) -> None:
        """Push the last state of things."""
        if terms := self._terms():
            await self.push(terms)

    async def push(self, terms: PushTerms) -> None:
        """Push once. Never raises for what the gateway does."""
        try:
            await _put(terms.target, await self._render())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # Counted before the event, so that who reads the event finds the count.
            self._counts["failed"] += 1
            await self._changed(terms, failing=True, reason=_reason(error))
        else:
            self._counts["succeeded"] += 1
            await self._changed(terms, failing=False)

    async def _changed(self, terms: PushTerms, *, failing: bool, **facts: str) -> None:
        if failing == self._failing:
            return
        self._failing = failing
        event = Event(
            "push.failed" if failing else "push.recovered", self._now(), data={"gateway": terms.gateway} | facts
        )
        with suppress(VyaError):  # a catalog that cannot be written is said elsewhere
            await self._record(event)


async def knock(terms: PushTerms) -> str | None:
    """Ask the gateway whether it is ready. None when it is, or else why not, in words that name no login."""
    timeout = aiohttp.ClientTimeout(total=PUSH_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{terms.url.rstrip('/')}/-/ready", allow_redirects=False) as answer,
        ):
            return None if answer.status < 300 else f"status {answer.status}"
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return _reason(error)


async def _put(target: str, body: bytes) -> None:
    timeout = aiohttp.ClientTimeout(total=PUSH_SECONDS)
    headers = {"Content-Type": TEXT_TYPE}
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.put(target, data=body, headers=headers, allow_redirects=False) as answer,
    ):
        if answer.status >= 300:
            said = (await answer.content.read(_MOST_ANSWER)).decode("utf-8", "replace").strip().splitlines()
            raise ValueError(f"status {answer.status}: {said[0][:200] if said else answer.reason}")


def _part(label: str, value: str) -> str:
    """A label of the group in the path: as it is, or in base64 where the path could not carry it."""
    if value and "/" not in value:
        return f"{label}/{quote(value, safe='')}"
    coded = base64.urlsafe_b64encode(value.encode()).decode().rstrip("=") or "="
    return f"{label}@base64/{coded}"


def _reason(error: BaseException) -> str:
    """In words that name no address: the gateway's may hold a login."""
    if isinstance(error, TimeoutError):
        return f"no answer within {PUSH_SECONDS:g} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or "no connection"
    return str(error) if isinstance(error, ValueError) else type(error).__name__
