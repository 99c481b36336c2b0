"""How long the disk of the store lasts: what is free, what the next round wants, and how fast the backups grow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from vya_backupd.operations.site import Site
from vya_backupd.policy.forecast import WINDOW, Growth, growth


@dataclass(frozen=True, slots=True)
class DiskOutlook:
    """The disk today and tomorrow. ``round_bytes``: the newest backups of all databases together.

    ``largest_wants_bytes``: the room that the largest of them wants next time. ``growth`` is None until a few days have been
    seen.
    """

    free_bytes: int
    total_bytes: int
    round_bytes: int
    largest_wants_bytes: int
    growth: Growth | None

    @property
    def days_until_full(self) -> float | None:
        """At the pace of late; None when it is not known, or leads nowhere."""
        return self.growth.days_until_full(self.free_bytes) if self.growth else None

    @property
    def in_words(self) -> str:
        """What is to be expected."""
        if self.growth is None:
            return "too few days of backups for a forecast"
        days = self.days_until_full
        if days is None:
            return f"backups have not grown in the last {self.growth.days} days"
        return f"full in {days_shown(days)} if backups grow on as in the last {self.growth.days} days"


def days_shown(days: float) -> str:
    """A number of days as far as a forecast reaches."""
    if days < 1:
        return "less than a day"
    if days > 3650:
        return "more than ten years"
    return f"about {days:,.0f} days"


async def foresee(site: Site) -> DiskOutlook:
    """Ask disk and catalog. StorageError when one of them does not answer."""
    usage = await asyncio.to_thread(site.store.usage)
    now = site.now()
    enabled = {instance.id for instance in site.enabled_instances(None)}
    newest = await site.catalog.figures.newest_sizes(now)
    sizes = [size for (instance, _), size in newest.items() if instance in enabled]
    wants = int(max(sizes, default=0) * site.config.backup.free_space_factor)
    changes = await site.catalog.figures.changes(now - WINDOW)
    return DiskOutlook(usage.free, usage.total, sum(sizes), wants, growth(changes, now))
