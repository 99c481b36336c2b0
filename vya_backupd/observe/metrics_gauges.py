"""Gauges: what is so at this moment, made anew at each scrape from figures, outlook and live values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from vya_backupd.catalog.figures import Errands, Figures
from vya_backupd.model.operation import OperationKind
from vya_backupd.observe.outlook import InstanceOutlook, Live, Outlook

_PLACE = ("database_type", "database_id")
_DATABASE = (*_PLACE, "database")

_Row = tuple[Sequence[str], float | None]


@dataclass(frozen=True, slots=True)
class LastEnd:
    """The last ended backup operation of an instance."""

    engine: str
    well: bool
    ended_at: float
    size_bytes: int


def last_ends(last: Mapping[str, LastEnd]) -> Iterator[Metric]:
    """How the last backup of each instance ended, when, and how big it was."""
    ends = [((end.engine, instance), end) for instance, end in sorted(last.items())]
    yield _gauge(
        "vya_backup_last_status",
        "1 if every step of the last ended backup succeeded",
        _PLACE,
        ((place, int(end.well)) for place, end in ends),
    )
    yield _gauge(
        "vya_backup_last_timestamp",
        "When the last backup ended, in Unix time",
        _PLACE,
        ((place, end.ended_at) for place, end in ends),
    )
    yield _gauge(
        "vya_backup_last_size_bytes",
        "Size of the last backup's files",
        _PLACE,
        ((place, end.size_bytes) for place, end in ends),
    )


def of_databases(figures: Figures, outlook: Outlook) -> Iterator[Metric]:
    """The newest backup of each database, and when the next one is due."""
    rows = [((each.engine, each.instance, each.database), each) for each in figures.newest]
    yield _gauge(
        "vya_backup_last_success_timestamp_seconds",
        "When the newest complete backup of a database ended, in Unix time",
        _DATABASE,
        ((place, each.finished_at.timestamp()) for place, each in rows),
    )
    yield _gauge(
        "vya_backup_newest_dump_bytes",
        "Bytes of dump in the newest backup of a database",
        _DATABASE,
        ((place, each.raw_size_bytes) for place, each in rows),
    )
    yield _gauge(
        "vya_backup_previous_dump_bytes",
        "Bytes of dump in the backup before the newest one",
        _DATABASE,
        ((place, each.previous_raw_size_bytes) for place, each in rows),
    )
    yield _gauge(
        "vya_backup_due_timestamp_seconds",
        "When a covered database has no backup that is young enough any more, in Unix time",
        _DATABASE,
        ((place, at.timestamp()) for place, at in sorted((outlook.due or {}).items())),
    )


def of_instances(figures: Figures, outlook: Outlook) -> Iterator[Metric]:
    """What is expected of each instance, what its server says, and how much it has in the store."""

    def family(name: str, text: str, values: Iterable[tuple[InstanceOutlook, float | None]]) -> Metric:
        return _gauge(name, text, _PLACE, (((each.engine, each.instance), value) for each, value in values))

    known = outlook.instances
    yield family("vya_instance_reachable", "1 if the server answered when last asked", (
        (each, None if each.reachable is None else int(each.reachable)) for each in known
    ))  # fmt: skip
    yield family("vya_databases_discovered", "Databases that a server has", ((each, each.discovered) for each in known))
    yield family(
        "vya_databases_covered", "Databases of a server that are backed up", ((each, each.covered) for each in known)
    )
    yield family(
        "vya_databases_uncovered",
        "Databases of a server that are neither backed up nor excluded",
        ((each, each.uncovered) for each in known),
    )
    yield family(
        "vya_backup_expected_interval_seconds",
        "Longest time between two scheduled backups",
        ((each, each.interval.total_seconds()) for each in known),
    )
    yield family(
        "vya_backup_max_age_seconds",
        "Age that the newest complete backups may reach",
        ((each, each.max_age.total_seconds()) for each in known),
    )
    stock = [((each.engine, each.instance), each) for each in figures.stock]
    yield _gauge("vya_backups_stored", "Backups in the store", _PLACE, ((place, each.backups) for place, each in stock))
    yield _gauge(
        "vya_backups_stored_bytes", "Size of them", _PLACE, ((place, each.size_bytes) for place, each in stock)
    )


def of_duties(figures: Figures, errands: Errands, outlook: Outlook) -> Iterator[Metric]:
    """When verification and retention last came round, and what waits to be told."""
    readings = figures.readings
    yield _moment("vya_last_verification_timestamp_seconds", "When a backup was last verified", readings.newest)
    yield _moment(
        "vya_oldest_verification_timestamp_seconds",
        "When the backup was read whose last reading, or else its end, is longest ago",
        readings.oldest,
    )
    within = outlook.reverify_within
    yield _gauge(
        "vya_verification_interval_seconds",
        "Time within which every backup is read again",
        (),
        [((), within.total_seconds() if within else None)],
    )
    yield _gauge("vya_backups_never_verified", "Backups that were never read again", (), [((), readings.never)])
    yield _moment("vya_last_retention_timestamp_seconds", "When retention last ran to its end", errands.retention_at)
    waiting = [((each.channel,), each) for each in errands.waiting]
    yield _gauge(
        "vya_notifications_waiting",
        "Messages that wait to be sent",
        ("channel",),
        ((place, each.messages) for place, each in waiting),
    )
    yield _gauge(
        "vya_notifications_waiting_since_timestamp_seconds",
        "Since when the first of them waits, in Unix time",
        ("channel",),
        ((place, each.since.timestamp()) for place, each in waiting),
    )


def of_now(live: Live, figures: Figures) -> Iterator[Metric]:
    """What the daemon is doing, and how it fares."""
    yield _by("vya_backup_configured_databases", "Configured instances", "database_type", live.configured())
    space = dict(live.disk_usage())
    if space:
        space["backups"] = sum(each.size_bytes for each in figures.stock)
    yield _by("vya_backup_disk_usage_bytes", "Bytes of the backup file system", "path_type", space)
    running = {str(kind): 0 for kind in OperationKind} | dict(live.running())
    yield _by("vya_operations_running", "Operations that run now", "kind", running)
    yield GaugeMetricFamily("vya_operations_waiting", "Operations that wait", value=live.waiting())
    yield GaugeMetricFamily(
        "vya_operations_progress_bytes", "Bytes that running steps have processed", value=live.bytes_in_progress()
    )
    yield _by("vya_objectives_missed", "How much is missed of an objective; 0 if it is met", "objective", live.missed())
    yield GaugeMetricFamily(
        "vya_config_last_reload_successful", "0 if the last reload was refused", value=int(live.reload_well())
    )
    yield _moment(
        "vya_config_last_reload_success_timestamp_seconds",
        "When the configuration was read that is in force",
        live.in_force_since(),
    )
    yield _gauge("vya_scheduler_lag_seconds", "How late the scheduler is", (), [((), live.scheduler_lag())])
    yield CounterMetricFamily("vya_log_lines_lost", "Lines that could not be logged", value=live.lost_log_lines())
    yield CounterMetricFamily(
        "vya_observer_failures", "Events that an observer failed at", value=live.observer_failures()
    )
    pushes = CounterMetricFamily("vya_metrics_pushes", "Pushes to the Pushgateway", labels=("status",))
    for status, number in sorted(live.pushes().items()):
        pushes.add_metric([status], number)
    yield pushes


def _gauge(name: str, text: str, labels: Sequence[str], rows: Iterable[_Row]) -> Metric:
    """A family; rows without a value are left out."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for place, value in rows:
        if value is not None:
            family.add_metric(place, value)
    return family


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _gauge(name, text, (label,), (((key,), value) for key, value in sorted(values.items())))


def _moment(name: str, text: str, at: datetime | None) -> Metric:
    return _gauge(name, f"{text}, in Unix time", (), [((), at.timestamp() if at else None)])
