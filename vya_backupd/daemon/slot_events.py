"""What others should hear of a slot beyond its operation: that it came late, was left out, merged or given up."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from vya_backupd.model.event import Event
from vya_backupd.policy.due import Action, Cause, Decision

_NAMES = {
    Cause.PAUSED: "slot.skipped",
    Cause.MISSED: "slot.missed",
    Cause.STILL_RUNNING: "slot.coalesced",
    Cause.CLOCK_SET_BACK: "schedule.realigned",
    Cause.OUT_OF_ATTEMPTS: "slot.given_up",
    Cause.OUT_OF_TIME: "slot.given_up",
    Cause.OVERTAKEN: "slot.given_up",
}
"""The event of each cause for which a slot does not run. One on time, or a next attempt, is its operation's event."""


def events_of(instance: str, decision: Decision, at: datetime) -> list[Event]:
    """The events of a decision. ``count`` is of slots that nobody runs for themselves; ``slot`` is the newest one."""
    found: list[tuple[str, dict[str, Any]]] = []
    if decision.cause is Cause.CAUGHT_UP:
        found.append(("slot.caught_up", {"late_seconds": round(decision.late.total_seconds())}))
    if decision.action is Action.RUN and decision.missed:
        found.append(("slot.missed", {"count": decision.missed}))
    if decision.action is Action.RUN and decision.held:
        reason = "waited for the end of the same blackout"
        found.append(("slot.coalesced", {"count": decision.held, "reason": reason}))
    if decision.cause is Cause.BLACKOUT:
        found.append(("slot.postponed", {"until": decision.until.isoformat() if decision.until else None}))
    if decision.cause in _NAMES:
        found.append((_NAMES[decision.cause], _facts(decision)))
    about = {"slot": decision.slot.isoformat() if decision.slot else None, "reason": decision.reason}
    return [Event(name, at, instance=instance, actor="schedule", data=about | facts) for name, facts in found]


def _facts(decision: Decision) -> dict[str, Any]:
    if decision.action is Action.GIVE_UP:
        return {"attempt": decision.attempt, "databases": decision.databases}
    return {} if decision.cause is Cause.CLOCK_SET_BACK else {"count": decision.missed + decision.held + 1}
