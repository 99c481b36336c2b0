"""Prometheus metrics: a projection of stored totals, of the catalog's figures, and of what the daemon is doing now.

Everything that outlives the daemon is read from the catalog: totals and last ends at start, and then from its events;
figures whenever backups have come or gone (``freshen``). So it is the same before and after a restart. What changes by
itself, such as running operations, is asked of ``Live`` when somebody scrapes.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.registry import Collector

from vya_backupd.catalog import Catalog
from vya_backupd.catalog.figures import Errands, Figures
from vya_backupd.catalog.ledger import Count
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind, State
from vya_backupd.observe import metrics_gauges as gauges
from vya_backupd.observe.counting import counts_of
from vya_backupd.observe.metrics_gauges import LastEnd
from vya_backupd.observe.metrics_totals import Totals
from vya_backupd.observe.outlook import Live, Outlook

__all__ = ["TEXT_TYPE", "Live", "Metrics", "Outlook"]

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_CLOCK_SLACK = timedelta(minutes=5)
"""A snapshot that is later than now by more was taken under a wrong clock, and is nobody's newest."""

GIVEN_UP_LATELY = timedelta(days=1)
"""Messages that were given up longer ago trouble nobody any more."""

_CHANGES_FIGURES = ("backup.", "catalog.")
"""How the names of events begin after which the figures are others."""
_CHANGES_ERRANDS = ("operation.finished", "notification.", "retention.")
"""The same of errands."""


class Metrics(Collector):
    """All metrics of one daemon, in a registry of its own. Use it within the event loop.

    ``is_stale``: figures are to be read again. ``has_news``: something is, be it only errands.
    """

    def __init__(self, version: str, live: Live | None = None) -> None:
        self.live = live or Live()
        self.outlook = Outlook()
        self.figures = Figures()
        self.errands = Errands()
        self.is_stale = True
        self.has_news = True
        self._version = version
        self._totals = Totals()
        self._last: dict[str, LastEnd] = {}
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    # what it learns

    async def fill(self, catalog: Catalog, now: datetime, instances: Iterable[str] = ()) -> None:
        """Read what the catalog holds, instead of everything known so far; last ends at least of these instances."""
        self._totals.replace(Count(each.name, each.labels, each.value) for each in await catalog.totals())
        self._last.clear()
        for event in reversed(await catalog.figures.last_ends(set(instances))):
            self._take_end(event)
        self.is_stale = True
        await self.freshen(catalog, now)

    async def freshen(self, catalog: Catalog, now: datetime) -> None:
        """Read the figures again, if something has changed them. StorageError when the catalog cannot be read."""
        stale, self.is_stale, self.has_news = self.is_stale, False, False
        try:  # the marks fall before the reading, so that a change in its midst is not missed
            self.errands = await catalog.figures.errands(now - GIVEN_UP_LATELY)
            if stale:
                self.figures = await catalog.figures.read(now + _CLOCK_SLACK)
        except BaseException:
            self.is_stale, self.has_news = stale or self.is_stale, True
            raise

    def observe(self, event: Event) -> None:
        """The observer of the catalog's events."""
        for count in counts_of(event):
            self.count(count)
        self._take_end(event)
        self.is_stale = self.is_stale or event.name.startswith(_CHANGES_FIGURES)
        self.has_news = self.is_stale or self.has_news or event.name.startswith(_CHANGES_ERRANDS)

    def count(self, count: Count) -> None:
        """Add to a total."""
        self._totals.add(count)

    # what it shows

    def render(self, *, openmetrics: bool = False) -> tuple[bytes, str]:
        """The text and its content type."""
        if openmetrics:
            body: bytes = openmetrics_exposition.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return body, openmetrics_exposition.CONTENT_TYPE_LATEST
        return generate_latest(self.registry), TEXT_TYPE

    def collect(self) -> Iterator[Metric]:
        """All families of our own; called by the registry at each scrape."""
        build = {"version": self._version, "python_version": platform.python_version()}
        yield InfoMetricFamily("vya_build", "What runs here", value=build)
        yield from self._totals.collect()
        yield from gauges.last_ends(self._last)
        yield from gauges.of_databases(self.figures, self.outlook)
        yield from gauges.of_instances(self.figures, self.outlook)
        yield from gauges.of_duties(self.figures, self.errands, self.outlook)
        yield from gauges.of_now(self.live, self.figures)

    def _take_end(self, event: Event) -> None:
        data = event.data
        if event.name != "operation.finished" or data.get("kind") != OperationKind.BACKUP or data.get("dry_run"):
            return
        for instance, facts in data.get("instances", {}).items():
            self._last[instance] = LastEnd(
                str(facts.get("engine", "unknown")),
                facts.get("state") == State.SUCCEEDED,
                event.at.timestamp(),
                int(facts.get("size_bytes", 0)),
            )
