"""What an operator should be told of blackouts before the first of them comes: said when a configuration is checked."""

from __future__ import annotations

from collections.abc import Iterator

from vya_backupd.operations.site import Settings
from vya_backupd.policy.blackout import always_waits
from vya_backupd.policy.schedule import Schedule


def blackout_doubts(settings: Settings) -> Iterator[str]:
    """A sentence for each thing that was hardly meant so."""
    for instance in settings.instances.values():
        own, calendar = settings.scheduling(instance.id), settings.calendar(instance.id)
        if not (instance.enabled and own.enabled and calendar.blackouts):
            continue
        if own.method != "interval":
            yield f"{instance.id}: an outside timer starts its backups ({own.method}); blackouts do not hold them back"
            continue
        if calendar.never_opens():
            yield f"{instance.id}: its blackouts leave no opening in a week, and are not heeded"
            continue
        schedule = Schedule.of(cron=own.cron, interval_minutes=own.interval_minutes, timezone=own.timezone)
        if always_waits(schedule, calendar):
            yield f"{instance.id}: every slot ({schedule.text}) lies in a blackout and waits for its end"
        wait, allowed = settings.interval(instance.id), settings.max_age(instance.id)
        if wait > allowed:
            yield f"{instance.id}: with its blackouts, backups may be {wait} apart; max_age is {allowed}"
