"""An event: a fact, written in the same catalog transaction as the change that it reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, to whom, when (UTC). ``name`` is ``noun.verb``: ``backup.published``, ``operation.finished``."""

    name: str
    at: datetime
    operation_id: str | None = None
    instance: str | None = None
    database: str | None = None
    actor: str = "daemon"
    data: dict[str, Any] = field(default_factory=dict)
