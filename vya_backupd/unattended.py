"""Which parts live beside the queue, and which panels the control socket has: one line for each capability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vya_backupd.api.route import Panel
from vya_backupd.daemon.lifecycle import Lifecycle
from vya_backupd.daemon.part import Part
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.observe.metrics import Metrics
from vya_backupd.operations.site import Site
from vya_backupd.service import DaemonService


@dataclass(frozen=True, slots=True)
class House:
    """What parts and panels are made of. ``standalone``: no daemon, but one client's work in its own process."""

    site: Site
    queue: OperationQueue
    service: DaemonService
    metrics: Metrics
    lifecycle: Lifecycle
    standalone: bool = False


def furnish(house: House) -> tuple[Sequence[Part], Sequence[Panel]]:  # noqa: ARG001 - until the first part comes in
    """The parts to run and the panels to show, made of this house. Observers of events are subscribed here."""
    parts: list[Part] = []
    panels: list[Panel] = []
    return parts, panels
