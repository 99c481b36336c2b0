"""Which parts live beside the queue, and which panels the control socket has: one line for each capability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vya_backupd import __version__
from vya_backupd.api.route import Panel
from vya_backupd.daemon.daily import DailyRetention
from vya_backupd.daemon.history import Forgetting
from vya_backupd.daemon.lifecycle import Lifecycle
from vya_backupd.daemon.part import Part
from vya_backupd.daemon.presence import Presence
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.daemon.reloads import Reloads
from vya_backupd.daemon.reverify import Reverification
from vya_backupd.daemon.slots import Slots
from vya_backupd.daemon.timekeeper import Timekeeper
from vya_backupd.observe.audit import AuditTerms, AuditTrail
from vya_backupd.observe.log import LogFile
from vya_backupd.observe.metrics import Metrics
from vya_backupd.observe.notify import Notices
from vya_backupd.observe.notify_carrier import Means
from vya_backupd.observe.push import Pusher, PushTerms
from vya_backupd.observe.reach import Reach
from vya_backupd.operations.leftovers import Leftovers
from vya_backupd.operations.mirroring import Mirroring
from vya_backupd.operations.site import Site
from vya_backupd.operations.stock import Stocktaking
from vya_backupd.panels.audit import AuditPanel
from vya_backupd.panels.doctor import DoctorPanel
from vya_backupd.panels.extract import ExtractPanel
from vya_backupd.panels.notify import NotifyPanel
from vya_backupd.panels.retention import RetentionPanel
from vya_backupd.panels.schedule import SchedulePanel
from vya_backupd.panels.throttle import ThrottlePanel
from vya_backupd.policy.health import Objective
from vya_backupd.service import DaemonService


@dataclass(frozen=True, slots=True)
class House:
    """What parts and panels are made of. ``standalone``: no daemon, but one client's work in its own process."""

    site: Site
    queue: OperationQueue
    service: DaemonService
    metrics: Metrics
    lifecycle: Lifecycle
    reloads: Reloads
    standalone: bool = False


def furnish(house: House) -> tuple[Sequence[Part], Sequence[Panel]]:
    """The parts to run and the panels to show, made of this house. Observers of events are subscribed here."""
    site = house.site
    mirroring = Mirroring(site)
    house.service.sync_status = mirroring.status
    trail = AuditTrail(site.catalog, lambda: _audit_terms(site), site.now)
    stocktaking = Stocktaking(site)
    house.service.objectives.failing |= {
        Objective.AUDITED: lambda: trail.complaint,
        Objective.MIRRORED: lambda: mirroring.complaint,
        Objective.WRITABLE: lambda: stocktaking.complaint or LogFile.trouble,
        Objective.CONFIGURED: lambda: house.reloads.complaint,
    }
    facts = {"version": __version__, "standalone": house.standalone}
    leftovers = Leftovers(site)
    house.service.unsettled = leftovers.unsettled
    parts: list[Part] = [leftovers, trail, Presence(site.catalog.record, site.now, facts, trail.settle), mirroring]
    panels: list[Panel] = [AuditPanel(site, trail), ExtractPanel(site), RetentionPanel(site)]
    parts.append(stocktaking)
    panels.append(ThrottlePanel(site))
    means = Means(lambda: site.config, lambda: site.settings.decrypt, site.now)
    notices = Notices(site.catalog, means)
    parts += [notices, Forgetting(site, [trail.read_to, notices.collector.read_to])]
    panels.append(NotifyPanel(site, means))
    reach = Reach(means, lambda: _push_terms(site))
    pusher = Pusher(lambda: _push_terms(site), lambda: _rendered(house.service), site.catalog.record, site.now)
    live = replace(
        house.metrics.live,
        pushes=lambda: pusher.counts,
        reload_well=lambda: house.reloads.complaint is None,
        in_force_since=lambda: house.reloads.in_force_since,
    )
    parts.append(pusher)
    if not house.standalone:
        slots = Slots(site, house.queue)
        parts += [Timekeeper(site, slots), DailyRetention(site), Reverification(site, house.queue)]
        schedule = SchedulePanel(site, slots)
        panels.append(schedule)
        house.service.page.schedule = schedule.overview
        live = replace(live, scheduler_lag=lambda: slots.lag_seconds if slots.terms else None)
    house.metrics.live = live
    panels.append(DoctorPanel(site, house.service, house.metrics, reach))
    return parts, panels


def _audit_terms(site: Site) -> AuditTerms:
    """Where the audit goes, by the configuration in force."""
    return AuditTerms(site.config.audit_path, site.settings.encrypt if site.config.audit.encrypt else None)


def _push_terms(site: Site) -> PushTerms | None:
    """The Pushgateway of the configuration in force."""
    prometheus, hostname = site.config.monitoring.prometheus, site.config.application.hostname
    if prometheus.pushgateway_url is None:
        return None
    job = prometheus.job_name.replace("{hostname}", hostname)
    return PushTerms(prometheus.pushgateway_url, job, hostname, prometheus.push_interval.total_seconds())


async def _rendered(service: DaemonService) -> bytes:
    body, _ = await service.metrics(openmetrics=False)
    return body
