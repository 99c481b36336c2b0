"""Between the outbox and those who carry letters out of the house: what a carrier is given, and what it answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from vya_backupd.catalog.outbox import WaitingLetter
from vya_backupd.config.schema import Config
from vya_backupd.config.secret_ref import Decrypt
from vya_backupd.errors import VyaError


@dataclass(frozen=True, slots=True)
class Means:
    """What carriers work with; functions, since a reload changes what they give."""

    config: Callable[[], Config]
    decrypt: Callable[[], Decrypt | None]
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Told:
    """What became of letters that were carried together.

    Without an ``error`` they arrived, where ``answer`` is the other side's. ``lost`` are recipients that will never
    get it, whatever else became of it. ``left`` is what changes in the letters' bodies for the next attempt. ``unwanted``:
    nobody wants it any more, and why.
    """

    letters: Sequence[WaitingLetter]
    error: VyaError | None = None
    answer: str = ""
    lost: dict[str, VyaError] = field(default_factory=dict)
    left: dict[str, Any] | None = None
    unwanted: str = ""


class Carrier(Protocol):
    """One way out of the house."""

    @property
    def name(self) -> str:
        """What it is called in logs."""

    @property
    def channels(self) -> Sequence[str]:
        """The letters that are its business."""

    def carry(self, letters: Sequence[WaitingLetter]) -> AsyncGenerator[Told, None]:
        """Try each letter once, and say of each what became of it, as soon as it is known. Raises nothing."""
