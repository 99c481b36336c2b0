"""The limits in force: configured ones, those that somebody set by hand, and those of blackouts, as throttles.

A throttle asks here some times per second what its rate is. So a reload, a limit set by hand, its end, and the beginning
and the end of a blackout all take effect under way, and nobody has to be told.

What was set by hand outlives a restart: it stands in the catalog as a mark.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from vya_backupd.pipeline.throttle import Throttle
from vya_backupd.policy import blackout
from vya_backupd.policy.limits import EVERY_INSTANCE, Flow, Override, Overrides, Verdict, judge

if TYPE_CHECKING:
    from vya_backupd.operations.site import Settings

_FRESH_SECONDS = 0.2
"""For how long a rate is taken as it was: a change shows within a second, and a small dump asks once."""
MARK = "limits.overrides"
"""Under which the catalog keeps what was set by hand."""


class Limits:
    """``settings`` gives those in force, ``now`` is the wall clock; both are asked from any thread."""

    def __init__(self, settings: Callable[[], Settings], now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now
        self._lock = threading.Lock()
        self._throttles: dict[tuple[str, Flow], Throttle] = {}
        self.overrides: Overrides = {}

    def throttle(self, instance: str, flow: Flow) -> Throttle:
        """What holds back all work on an instance in this direction; the limit of all instances is above it."""
        with self._lock:
            for name in (EVERY_INSTANCE, instance):
                if (name, flow) not in self._throttles:
                    above = self._throttles.get((EVERY_INSTANCE, flow)) if name != EVERY_INSTANCE else None
                    self._throttles[name, flow] = Throttle(self._rate(name, flow), above)
            return self._throttles[instance, flow]

    def verdict(self, instance: str, flow: Flow) -> Verdict:
        """The limit of an instance alone, or of ``EVERY_INSTANCE`` together, at this moment."""
        now, settings = self._now(), self._settings()
        override = self.overrides.get((instance, flow))
        slowed = None
        if instance != EVERY_INSTANCE:
            slowed = blackout.slowed_to(settings.config.scheduling.timezone, settings.blackouts, instance, now)
        return judge(settings.rate(instance, flow), slowed, override, now)

    def change(self, instance: str, flow: Flow, override: Override | None) -> Overrides:
        """What stands by hand after a change: one more, or one fewer. Put it into force with ``overrides``."""
        now = self._now()
        kept = {place: each for place, each in self.overrides.items() if each.holds(now) and place != (instance, flow)}
        return kept if override is None else {**kept, (instance, flow): override}

    def _rate(self, instance: str, flow: Flow) -> Callable[[], float | None]:
        seen, rate = float("-inf"), None

        def recent() -> float | None:
            nonlocal seen, rate
            now = time.monotonic()
            if now - seen > _FRESH_SECONDS:
                seen, rate = now, self.verdict(instance, flow).rate
            return rate

        return recent


def to_text(overrides: Overrides) -> str:
    """For the catalog."""
    return json.dumps([_record(*place, each) for place, each in overrides.items()])


def from_text(text: str | None) -> Overrides:
    """From the catalog."""
    return {(each["instance"], Flow(each["flow"])): _override(each) for each in json.loads(text or "[]")}


def _record(instance: str, flow: Flow, each: Override) -> dict[str, Any]:
    until = each.until.isoformat() if each.until else None
    return {
        "instance": instance,
        "flow": flow.value,
        "rate": each.rate,
        "by": each.by,
        "at": each.at.isoformat(),
        "until": until,
    }


def _override(record: dict[str, Any]) -> Override:
    until = datetime.fromisoformat(record["until"]) if record["until"] else None
    return Override(record["rate"], record["by"], datetime.fromisoformat(record["at"]), until)
