"""Limits of bytes per second on the control socket: what holds now and why, and setting them while work runs."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from vya_backupd.api.access import Role
from vya_backupd.api.route import Asked, Record, Route
from vya_backupd.config.fields import duration
from vya_backupd.errors import UsageError
from vya_backupd.model.event import Event
from vya_backupd.operations.limits import MARK, to_text
from vya_backupd.operations.requests import parse_moment
from vya_backupd.operations.site import Site
from vya_backupd.policy.limits import EVERY_INSTANCE, Flow, Override, parse_rate

NO_LIMIT = "none"


class ThrottlePanel:
    """Implements ``api.route.Panel``."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._turn = asyncio.Lock()

    def routes(self) -> list[Route]:
        """See ``Panel``."""
        return [
            Route("GET", "/v1/throttle", Role.VIEWER, self._show),
            Route("POST", "/v1/throttle/set", Role.OPERATOR, self._set),
            Route("POST", "/v1/throttle/reset", Role.OPERATOR, self._reset),
        ]

    async def _show(self, _: Asked) -> Record:
        """The limit of all together first, then each instance's own, in both directions."""
        names = [EVERY_INSTANCE, *self._site.settings.instances]
        config = self._site.config.limits
        return {
            "limits": [self._record(name, flow) for name in names for flow in Flow],
            "nice": config.nice,
            "io_priority": config.io_priority,
        }

    def _record(self, name: str, flow: Flow) -> Record:
        now, limits = self._site.now(), self._site.limits
        verdict, override = limits.verdict(name, flow), limits.overrides.get((name, flow))
        until = override.until if override is not None and override.holds(now) else None
        return {
            "instance": None if name == EVERY_INSTANCE else name,
            "flow": flow.value,
            "bytes_per_second": verdict.rate,
            "reason": verdict.reason,
            "configured": self._site.settings.rate(name, flow),
            "until": until.isoformat() if until else None,
        }

    async def _set(self, asked: Asked) -> Record:
        rate, now = _rate(asked), self._site.now()
        until = self._until(asked, now)
        override = Override(rate, asked.actor, now, until)
        facts = {"bytes_per_second": rate, "until": until.isoformat() if until else None}
        return await self._change(asked, override, "throttle.set", facts)

    async def _reset(self, asked: Asked) -> Record:
        return await self._change(asked, None, "throttle.reset", {})

    async def _change(self, asked: Asked, override: Override | None, name: str, facts: dict[str, Any]) -> Record:
        """On record first, then in force: what a crash leaves is what the next start has."""
        named, flow, site = asked.text("instance"), _flow(asked), self._site
        whom = None if named is None else site.instance(named).id
        event = Event(name, site.now(), instance=whom, actor=asked.actor, data={"flow": flow.value, **facts})
        async with self._turn:
            overrides = site.limits.change(whom or EVERY_INSTANCE, flow, override)
            await site.catalog.keep(MARK, to_text(overrides), event)
            site.limits.overrides = overrides
        return await self._show(asked)

    def _until(self, asked: Asked, now: datetime) -> datetime | None:
        text, span = asked.text("until"), asked.text("for")
        if text is not None and span is not None:
            raise UsageError("--until and --for exclude each other")
        if span is not None:
            try:
                return now + duration(span)
            except (ValueError, OverflowError) as error:
                raise UsageError(f"--for {error}") from None
        if text is None:
            return None
        until = parse_moment(text, ZoneInfo(self._site.config.scheduling.timezone))
        if until <= now:
            raise UsageError(f"{text} has passed", hint="Say a time in the future, or leave --until out.")
        return until


def _rate(asked: Asked) -> int | None:
    text = asked.text("rate")
    if text is None:
        raise UsageError("the rate is missing")
    if text == NO_LIMIT:
        return None
    try:
        return parse_rate(text)
    except ValueError as error:
        raise UsageError(f"the rate {error}", hint=f"{NO_LIMIT} takes the limit away.") from None


def _flow(asked: Asked) -> Flow:
    text = asked.text("flow")
    if text is None:
        return Flow.DUMP
    try:
        return Flow(text)
    except ValueError:
        raise UsageError(f"no such flow: {text!r}", hint="dump or restore.") from None
