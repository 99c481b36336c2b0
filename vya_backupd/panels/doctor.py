"""The doctor on the control socket: everything that could keep backups from being made, and restores from going well.

The checks come from the rooms below; here they are gathered, and joined by what only the running daemon knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from vya_backupd.api.access import Role
from vya_backupd.api.route import Asked, Record, Route
from vya_backupd.model.finding import Finding, Level, broken, doubtful, fine
from vya_backupd.observe.metrics import Metrics
from vya_backupd.observe.reach import Reach
from vya_backupd.operations import doctor_host, doctor_servers
from vya_backupd.operations.doctor import Check, examine
from vya_backupd.operations.site import Site
from vya_backupd.policy.health import Objective, moment, span
from vya_backupd.service import DaemonService

_LEVELS = {Objective.FRESH: broken, Objective.NOTIFIED: broken}
"""Missed objectives that are failures; others are worth a look."""
_TOLD_ELSEWHERE = frozenset({Objective.WRITABLE, Objective.COVERED})


class DoctorPanel:
    """Implements ``api.route.Panel``."""

    def __init__(self, site: Site, service: DaemonService, metrics: Metrics, reach: Reach) -> None:
        self._site = site
        self._service = service
        self._metrics = metrics
        self._reach = reach

    def routes(self) -> list[Route]:
        """See ``Panel``. The proposed SQL names accounts in full: it is for operators alone."""
        return [Route("GET", "/v1/doctor", Role.OPERATOR, self._examine)]

    async def _examine(self, asked: Asked) -> Record:
        """All findings, or those of one instance."""
        named = asked.query.get("instance")
        if named is not None:
            checks = doctor_servers.checks(self._site, [self._site.instance(named)])
        else:
            checks = [*self._of_house(), *doctor_servers.checks(self._site, self._site.enabled_instances(None))]
        found = await examine(checks)
        counts = Counter(str(finding.level) for finding in found)
        return {
            "counts": {str(level): counts[str(level)] for level in Level},
            "findings": [finding.to_json() for finding in found],
        }

    def _of_house(self) -> list[Check]:
        timeout = self._site.config.notifications.timeout.total_seconds()
        return [
            *doctor_host.checks(self._site),
            *(Check(name, look, seconds=5 * timeout) for name, look in self._reach.looks()),
            Check("schedule", self._schedules),
            Check("duties", self._duties),
        ]

    async def _schedules(self) -> Sequence[Finding]:
        """Who starts backups, and when next."""
        schedule = self._service.page.schedule
        if schedule is None:
            return [fine("schedule", "this run does without a daemon: something else starts it")]
        overview = await schedule()
        paused = overview["paused"]
        if paused:
            text = f"all schedules are paused by {paused['by']}" + (
                f" until {paused['until']}" if paused["until"] else ""
            )
            return [doubtful("schedule", text, "vyactl schedule resume")]
        return [self._scheduled(record) for record in overview["schedules"]] or [
            doubtful("schedule", "no instance is configured", "Add servers to the credentials file.")
        ]

    def _scheduled(self, record: dict[str, Any]) -> Finding:
        instance, settings = record["instance"], self._site.settings
        if record["state"] == "on":
            found = fine("schedule", f"{record['schedule']}; next {record['next_start']}")
        elif record["state"] == "paused":
            text = f"paused by {record['paused']['by']}"
            found = doubtful("schedule", text, f"vyactl schedule resume --instance {instance}")
        elif settings.instances[instance].enabled and not settings.scheduling(instance).enabled:
            hint = "Set scheduling.enabled, or see that something else calls the client."
            found = doubtful("schedule", "nothing starts backups by itself: scheduling is disabled", hint)
        else:
            found = fine("schedule", f"off: {record['reason']}")
        return found.at(instance)

    async def _duties(self) -> Sequence[Finding]:
        """Objectives that are missed, and when what comes round came round."""
        reasons = [each for each in await self._service.missed() if each.objective not in _TOLD_ELSEWHERE]
        found = [
            _LEVELS.get(each.objective, doubtful)(str(each.objective), each.text, "See `vyactl status` and the log.")
            for each in reasons
        ]
        late = {each.objective for each in reasons}
        metrics = self._metrics
        if Objective.FRESH not in late:
            found.append(fine("fresh", "every covered database has a backup that is young enough, or is not due yet"))
        if Objective.RETENTION not in late:
            cleanup = self._site.config.storage.retention.cleanup_enabled
            last = f"last ran {moment(metrics.errands.retention_at)}" if cleanup else "is off: cleanup_enabled is false"
            found.append(fine("retention", f"retention {last}"))
        if Objective.VERIFIED not in late and metrics.figures.readings.oldest is not None:
            days = self._site.config.backup.reverify_days
            limit = f"; every one is within {span(timedelta(days=days))}" if days else ""
            found.append(fine("verified", f"read longest ago: {moment(metrics.figures.readings.oldest)}{limit}"))
        return found
