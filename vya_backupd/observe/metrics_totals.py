"""Counters, histograms and the summary: the catalog's stored totals, shown as Prometheus wants them.

They grow only, so neither a restart nor the deletion of a backup makes one fall. What is counted is ``counting``'s to
say; a counter that is to be shown has its line here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric, SummaryMetricFamily

from vya_backupd.catalog.ledger import Count
from vya_backupd.observe import counting

_PLACE = ("database_type", "database_id")
_Labels = tuple[tuple[str, str], ...]

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    counting.EXECUTIONS: ("Backups of an instance that ended", (*_PLACE, "status")),
    counting.ERRORS: ("Errors of operations, by code", (*_PLACE, "error_type")),
    counting.RESTORES: ("Restores to an instance that ended", (*_PLACE, "status")),
    counting.FILES: ("Databases and files that operations processed", ("operation", "status")),
    counting.EXPIRED: ("Backups that retention deleted", ("database_id",)),
    counting.NOTIFICATIONS: ("Attempts to send messages", ("channel", "status")),
}
"""Every stored counter, without its suffix ``_total``: what it counts, and its labels."""

HISTOGRAMS = {
    counting.DURATION: "Wall time of an instance's backup",
    counting.RESTORE_DURATION: "Wall time of a restore to an instance",
}
"""Every stored histogram, by instance."""

SUMMARIES: dict[str, tuple[str, tuple[str, ...]]] = {
    counting.SIZE: ("Sizes of published backup files in bytes", ("database_type",)),
}
"""Every stored summary: number and sum."""


_FROM_THE_START = [
    Count(counting.FILES, {"operation": str(kind), "status": status}, 0)
    for kind in counting.FILE_OPERATIONS
    for status in ("failed", "succeeded")
]
"""Shown as 0 before anything was counted: Prometheus sees no increase in a counter that begins with 1."""


class Totals:
    """Stored totals by name and labels."""

    def __init__(self) -> None:
        self._series: dict[str, dict[_Labels, float]] = {}
        self.replace(())

    def replace(self, counts: Iterable[Count]) -> None:
        """Take these instead of everything known so far."""
        self._series.clear()
        for count in (*_FROM_THE_START, *counts):
            self.add(count)

    def add(self, count: Count) -> None:
        """Count on."""
        series = self._series.setdefault(count.name, {})
        labels = _ordered(count.labels)
        series[labels] = series.get(labels, 0.0) + count.amount

    def collect(self) -> Iterator[Metric]:
        """All families, also those that have nothing to show yet."""
        for name, (text, labels) in COUNTERS.items():
            yield self._counter(name, text, labels)
        for name, text in HISTOGRAMS.items():
            yield self._histogram(name, text)
        for name, (text, labels) in SUMMARIES.items():
            yield self._summary(name, text, labels)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Metric:
        family = CounterMetricFamily(name, text, labels=labels)
        for place, value in self._of(name):
            family.add_metric([place.get(label, "") for label in labels], value)
        return family

    def _histogram(self, name: str, text: str) -> Metric:
        family = HistogramMetricFamily(name, text, labels=_PLACE)
        buckets = self._series.get(f"{name}_bucket", {})
        sums = self._series.get(f"{name}_sum", {})
        for place, count in self._of(f"{name}_count"):
            bounds = map(str, counting.BUCKETS)
            found = [(bound, buckets.get(_ordered({**place, "le": bound}), 0.0)) for bound in bounds]
            family.add_metric(
                [place[label] for label in _PLACE], [*found, ("+Inf", count)], sums.get(_ordered(place), 0.0)
            )
        return family

    def _summary(self, name: str, text: str, labels: tuple[str, ...]) -> Metric:
        family = SummaryMetricFamily(name, text, labels=labels)
        sums = self._series.get(f"{name}_sum", {})
        for place, count in self._of(f"{name}_count"):
            family.add_metric([place[label] for label in labels], int(count), sums.get(_ordered(place), 0.0))
        return family

    def _of(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        for labels, value in sorted(self._series.get(name, {}).items()):
            yield dict(labels), value


def _ordered(labels: Mapping[str, str]) -> _Labels:
    return tuple(sorted(labels.items()))
