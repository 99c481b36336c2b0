"""Prometheus metrics: a projection of stored totals, last ends, and what the daemon is doing at the moment.

Counters, histograms and the summary are the catalog's totals, so a restart or a deletion never makes them fall. Gauges
of last ends are filled from the catalog at start and follow its events. What changes by itself, such as running
operations, is asked of ``Live`` when somebody scrapes.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.registry import Collector

from vya_backupd.catalog import Catalog
from vya_backupd.catalog.ledger import Count, Total
from vya_backupd.model.backup import StoredBackup
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, OperationKind, State, is_final
from vya_backupd.observe import counting
from vya_backupd.observe.counting import counts_of

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_OPERATIONS_READ = 1000
"""How far back the last backup of an instance is looked for at start."""

_Key = tuple[str, ...]

_COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    counting.EXECUTIONS: ("Backups of an instance that ended", ("database_type", "database_id", "status")),
    counting.ERRORS: ("Errors of operations, by code", ("database_type", "database_id", "error_type")),
    counting.RESTORES: ("Restores to an instance that ended", ("database_type", "database_id", "status")),
    counting.FILES: ("Databases and files that operations processed", ("operation", "status")),
}
_HISTOGRAMS = {
    counting.DURATION: "Wall time of an instance's backup",
    counting.RESTORE_DURATION: "Wall time of a restore to an instance",
}
_PLACE = ("database_type", "database_id")


@dataclass(frozen=True, slots=True)
class Live:
    """What is asked at each scrape. Every function is quick and never waits."""

    running: Callable[[], Mapping[str, int]] = dict
    """Operations that run, by kind."""
    waiting: Callable[[], int] = lambda: 0
    bytes_in_progress: Callable[[], int] = lambda: 0
    """Bytes of dump that running steps have processed so far."""
    configured: Callable[[], Mapping[str, int]] = dict
    """Configured instances, by kind of server."""
    disk_usage: Callable[[], Mapping[str, int]] = dict
    """Bytes, by what they are: ``backups``, ``free``, ``total``."""
    lost_log_lines: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True)
class _Last:
    """The last ended backup operation of an instance."""

    engine: str
    well: bool
    ended_at: float
    size_bytes: int


class Metrics(Collector):
    """All metrics of one daemon, in a registry of its own. Use it within the event loop."""

    def __init__(self, version: str, live: Live | None = None) -> None:
        self.live = live or Live()
        self._version = version
        self._totals: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        self._last: dict[str, _Last] = {}
        self._last_success: dict[_Key, float] = {}
        self._coverage: dict[_Key, tuple[int, int]] = {}
        self._last_verification: float | None = None
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    # what it learns

    async def fill(self, catalog: Catalog) -> None:
        """Read from the catalog what ``load`` takes over. Kinds of servers are those of their last backups."""
        backups = await catalog.backups.newest_each()
        engines = {stored.manifest.facts.instance: str(stored.manifest.facts.engine) for stored in backups}
        operations = await catalog.operations.list(limit=_OPERATIONS_READ, kind=OperationKind.BACKUP)
        self.load(await catalog.totals(), operations, backups, lambda instance: engines.get(instance, "unknown"))

    def load(
        self,
        totals: Iterable[Total],
        operations: Iterable[Operation],
        backups: Iterable[StoredBackup],
        engine_of: Callable[[str], str],
    ) -> None:
        """Take over what the catalog holds at start, instead of everything known so far.

        ``operations`` need be no more than the last ended ones; ``backups`` the newest of each database.
        """
        self._totals.clear()
        for total in totals:
            self._add(Count(total.name, total.labels, total.value))
        for operation in sorted(operations, key=lambda each: each.finished_at or each.submitted_at):
            self._take_operation(operation, engine_of)
        for stored in backups:
            facts = stored.manifest.facts
            self._succeeded(facts.engine, facts.instance, facts.database, stored.manifest.finished_at)
            if stored.manifest.verified_at:
                self._verified(stored.manifest.verified_at)

    def observe(self, event: Event) -> None:
        """The observer of the catalog's events."""
        for count in counts_of(event):
            self._add(count)
        if event.data.get("dry_run"):
            return
        kind, state = event.data.get("kind"), event.data.get("state")
        if event.name == "operation.finished" and kind == OperationKind.BACKUP:
            for instance, facts in event.data.get("instances", {}).items():
                self._last[instance] = _Last(
                    str(facts["engine"]),
                    facts["state"] == State.SUCCEEDED,
                    event.at.timestamp(),
                    int(facts.get("size_bytes", 0)),
                )
        elif event.name == "step.finished" and state == State.SUCCEEDED and event.instance and event.database:
            if kind == OperationKind.BACKUP:
                engine = str(event.data.get("engine", "unknown"))
                self._succeeded(engine, event.instance, event.database, event.at)
            elif kind == OperationKind.VERIFY:
                self._verified(event.at)

    def set_coverage(self, engine: str, instance: str, discovered: int, covered: int) -> None:
        """How many databases a server has, and how many of them are ours to back up."""
        self._coverage[(engine, instance)] = (discovered, covered)

    def render(self, *, openmetrics: bool = False) -> tuple[bytes, str]:
        """The text and its content type."""
        if openmetrics:
            body: bytes = openmetrics_exposition.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return body, openmetrics_exposition.CONTENT_TYPE_LATEST
        return generate_latest(self.registry), TEXT_TYPE

    # what it shows

    def collect(self) -> Iterator[Metric]:
        """All families; called by the registry at each scrape."""
        yield InfoMetricFamily(
            "vya_build",
            "What runs here",
            value={"version": self._version, "python_version": platform.python_version()},
        )
        for name, (text, labels) in _COUNTERS.items():
            yield self._counter(name, text, labels)
        for name, text in _HISTOGRAMS.items():
            yield self._histogram(name, text)
        yield self._summary()
        yield from self._last_ends()
        yield from self._now()

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Metric:
        family = CounterMetricFamily(name, text, labels=labels)
        for place, value in sorted(self._totals.get(name, {}).items()):
            family.add_metric([dict(place).get(label, "") for label in labels], value)
        return family

    def _histogram(self, name: str, text: str) -> Metric:
        family = HistogramMetricFamily(name, text, labels=_PLACE)
        buckets = self._totals.get(f"{name}_bucket", {})
        for place, count in sorted(self._totals.get(f"{name}_count", {}).items()):
            found = [(bound, buckets.get(_labels({**dict(place), "le": bound}), 0.0)) for bound in _bounds()]
            total = self._totals.get(f"{name}_sum", {}).get(place, 0.0)
            family.add_metric([dict(place)[label] for label in _PLACE], [*found, ("+Inf", count)], total)
        return family

    def _summary(self) -> Metric:
        name = counting.SIZE
        family = SummaryMetricFamily(name, "Sizes of published backup files in bytes", labels=("database_type",))
        for place, count in sorted(self._totals.get(f"{name}_count", {}).items()):
            total = self._totals.get(f"{name}_sum", {}).get(place, 0.0)
            family.add_metric([dict(place)["database_type"]], int(count), total)
        return family

    def _last_ends(self) -> Iterator[Metric]:
        status = GaugeMetricFamily(
            "vya_backup_last_status", "1 if every step of the last ended backup succeeded", labels=_PLACE
        )
        ended = GaugeMetricFamily(
            "vya_backup_last_timestamp", "When the last backup ended, in Unix time", labels=_PLACE
        )
        size = GaugeMetricFamily("vya_backup_last_size_bytes", "Size of the last backup's files", labels=_PLACE)
        for instance, last in sorted(self._last.items()):
            place = [last.engine, instance]
            status.add_metric(place, int(last.well))
            ended.add_metric(place, last.ended_at)
            size.add_metric(place, last.size_bytes)
        success = GaugeMetricFamily(
            "vya_backup_last_success_timestamp_seconds",
            "When the newest complete backup of a database ended, in Unix time",
            labels=(*_PLACE, "database"),
        )
        for key, at in sorted(self._last_success.items()):
            success.add_metric(key, at)
        yield from (status, ended, size, success)
        if self._last_verification is not None:
            yield GaugeMetricFamily(
                "vya_last_verification_timestamp_seconds",
                "When a backup was last verified, in Unix time",
                value=self._last_verification,
            )

    def _now(self) -> Iterator[Metric]:
        live = self.live
        yield _gauge("vya_backup_configured_databases", "Configured instances", ("database_type",), live.configured())
        yield _gauge(
            "vya_backup_disk_usage_bytes", "Bytes of the backup file system", ("path_type",), live.disk_usage()
        )
        running = {str(kind): 0 for kind in OperationKind} | dict(live.running())
        yield _gauge("vya_operations_running", "Operations that run now", ("kind",), running)
        yield GaugeMetricFamily("vya_operations_waiting", "Operations that wait", value=live.waiting())
        yield GaugeMetricFamily(
            "vya_operations_progress_bytes", "Bytes that running steps have processed", value=live.bytes_in_progress()
        )
        yield CounterMetricFamily("vya_log_lines_lost", "Lines that could not be logged", value=live.lost_log_lines())
        discovered = GaugeMetricFamily("vya_databases_discovered", "Databases that a server has", labels=_PLACE)
        covered = GaugeMetricFamily("vya_databases_covered", "Databases of a server that are backed up", labels=_PLACE)
        for key, (found, ours) in sorted(self._coverage.items()):
            discovered.add_metric(key, found)
            covered.add_metric(key, ours)
        yield from (discovered, covered)

    # inside

    def _add(self, count: Count) -> None:
        series = self._totals.setdefault(count.name, {})
        place = _labels(count.labels)
        series[place] = series.get(place, 0.0) + count.amount

    def _take_operation(self, operation: Operation, engine_of: Callable[[str], str]) -> None:
        dry = operation.request.get("dry_run")
        if operation.kind is not OperationKind.BACKUP or not is_final(operation.state) or dry:
            return
        if operation.finished_at is None:
            return
        for instance in {step.instance for step in operation.steps}:
            steps = [step for step in operation.steps if step.instance == instance]
            well = all(step.state is State.SUCCEEDED for step in steps)
            size = sum(int(step.detail.get("size_bytes", 0)) for step in steps)
            self._last[instance] = _Last(engine_of(instance), well, operation.finished_at.timestamp(), size)

    def _succeeded(self, engine: str, instance: str, database: str, at: datetime) -> None:
        key = (str(engine), instance, database)
        self._last_success[key] = max(self._last_success.get(key, 0.0), at.timestamp())

    def _verified(self, at: datetime) -> None:
        self._last_verification = max(self._last_verification or 0.0, at.timestamp())


def _labels(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _bounds() -> list[str]:
    return [str(bound) for bound in counting.BUCKETS]


def _gauge(name: str, text: str, labels: tuple[str], values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label, value in sorted(values.items()):
        family.add_metric([label], value)
    return family
