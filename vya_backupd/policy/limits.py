"""How fast bytes may flow: which limit holds at this moment, and why. Pure: the moment is an argument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

EVERY_INSTANCE = "*"
"""Stands for all instances together."""
SMALLEST_RATE = 1024
_LARGEST_RATE = 1 << 62
"""Bytes per second below which no limit goes: a connection that gets less is soon given up by its server."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmg]i?)?b?(?:/s)?)", re.IGNORECASE)


class Flow(StrEnum):
    """Which way bytes go: ``dump`` from a server, ``restore`` to it."""

    DUMP = "dump"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Override:
    """A limit that somebody set by hand, in place of the configured one. ``rate`` None: no limit."""

    rate: int | None
    by: str
    at: datetime
    until: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        """Whether it is in force."""
        return self.until is None or moment < self.until


@dataclass(frozen=True, slots=True)
class Verdict:
    """Bytes per second, None for no limit; and where that comes from."""

    rate: int | None
    reason: str


Overrides = Mapping[tuple[str, Flow], Override]
"""By instance (or ``EVERY_INSTANCE``) and way."""


def parse_rate(text: str) -> int:
    """Bytes per second: ``500000``, ``500k``, ``20MB``, ``16MiB/s``.

    Raises:
        ValueError: it is none of these, too little, or beyond all measure.
    """
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise ValueError("must be bytes per second, such as 20MB, 500k or 16MiB")
    rate = float(found[1]) * _UNITS[(found[2] or "").lower()]
    if not SMALLEST_RATE <= rate <= _LARGEST_RATE:
        raise ValueError(f"must be at least {SMALLEST_RATE} bytes per second, and no more than any machine moves")
    return int(rate)


def judge(configured: int | None, slowed: int | None, override: Override | None, now: datetime) -> Verdict:
    """What holds: what somebody set by hand, or else the least of configuration and blackout."""
    if override is not None and override.holds(now):
        return Verdict(override.rate, f"set by {override.by}")
    if slowed is not None and (configured is None or slowed < configured):
        return Verdict(slowed, "blackout")
    return Verdict(configured, "configured" if configured is not None else "no limit")
