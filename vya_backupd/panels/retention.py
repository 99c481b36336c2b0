"""What may be asked about retention: the plan, with every reason. Applying it is an operation of kind ``prune``."""

from __future__ import annotations

from pathlib import Path

from vya_backupd.api.access import Role
from vya_backupd.api.route import Asked, Record, Route
from vya_backupd.api.wire import format_time
from vya_backupd.operations.prune import judge
from vya_backupd.operations.site import Site
from vya_backupd.policy.retention import Verdict, is_held


class RetentionPanel:
    """Implements ``api.route.Panel``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[Route]:
        """See ``Panel``."""
        return [Route("GET", "/v1/retention/plan", Role.VIEWER, self._plan)]

    async def _plan(self, asked: Asked) -> Record:
        """Every backup with its verdict; ``instance`` and ``database`` narrow it."""
        instance = asked.query.get("instance")
        verdicts = await judge(self._site, None if instance is None else [instance], asked.query.get("database"))
        retention = self._site.config.storage.retention
        return {
            "cleanup_enabled": retention.cleanup_enabled,
            "totals": _totals(verdicts),
            "backups": [self._record(verdict) for verdict in verdicts],
        }

    def _record(self, verdict: Verdict) -> Record:
        backup = verdict.backup
        return {
            "id": backup.id,
            "instance": backup.instance,
            "database": backup.database,
            "type": str(backup.type),
            "file": str(Path(self._site.store.base_path) / backup.path),
            "size_bytes": backup.size_bytes,
            "taken_at": format_time(backup.taken_at),
            "held": is_held(backup.hold, self._site.now()),
            "keep": verdict.keep,
            "reasons": list(verdict.reasons),
        }


def _totals(verdicts: list[Verdict]) -> Record:
    totals = {"kept": 0, "kept_bytes": 0, "expired": 0, "expired_bytes": 0}
    for verdict in verdicts:
        word = "kept" if verdict.keep else "expired"
        totals[word] += 1
        totals[f"{word}_bytes"] += verdict.backup.size_bytes
    return totals
