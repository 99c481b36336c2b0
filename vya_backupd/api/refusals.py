"""What was refused on the control socket, as events: attempts count as deeds, and the audit has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from vya_backupd.errors import DeniedError, VyaError
from vya_backupd.model.event import Event

_log = structlog.get_logger("vya.api")

QUIET_SECONDS = 10.0
"""One user's refusals of one kind are an event at most so often; the next one says how many were passed over."""
_MOST_KNOWN = 1000


class Refusals:
    """Writes ``request.denied`` (the role is too low) and ``request.refused`` (it was in order, and answered with no)."""

    def __init__(self, record: Callable[[Event], Awaitable[None]], now: Callable[[], datetime]) -> None:
        self._record = record
        self._now = now
        self._known: dict[tuple[str, str, str], tuple[datetime, int]] = {}

    async def tell(self, actor: str, method: str, route: str, error: VyaError) -> None:
        """Write it down; a catalog that cannot be written must not change the answer."""
        key, now = (actor, f"{method} {route}", error.code), self._now()
        last, passed = self._known.get(key, (None, 0))
        if last is not None and 0 <= (now - last).total_seconds() < QUIET_SECONDS:
            self._known[key] = (last, passed + 1)
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key] = (now, 0)
        name = "request.denied" if isinstance(error, DeniedError) else "request.refused"
        data = {"request": f"{method} {route}", "error_code": error.code, "error": error.message}
        if passed:
            data["passed_over"] = str(passed)
        try:
            await self._record(Event(name, now, None, error.instance, error.database, actor, data))
        except VyaError as failure:
            _log.warning("control.refusal_not_recorded", actor=actor, code=error.code, error=failure.message)
