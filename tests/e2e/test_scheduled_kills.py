"""The daemon killed at random moments of scheduled work: no slot lost, none run twice, nothing left behind.

``VYA_SCHEDULED_KILLS=100`` kills in a hundred slots instead of four; about every third of them is hit twice. Where a
kill falls is drawn by ``VYA_SEED``, the same unless another is given; what it meets there is up to the machine.
"""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.conftest import ServerPool
from tests.e2e.scheduling import HOUR, MADE, SECOND, Planned, begun, planned
from vya_backupd.catalog.schedules import slot_key

SLOTS = int(os.environ.get("VYA_SCHEDULED_KILLS", "4"))
FIRST = datetime(2026, 6, 10, 1, tzinfo=UTC)
_LONGEST = 1.5
"""Seconds after which a kill comes at the latest; a slot's work takes about one."""


def test_kills_at_random_moments(server_pool: ServerPool, tmp_path: Path) -> None:
    dice = random.Random(os.environ.get("VYA_SEED", "1"))
    with planned(
        server_pool.get("postgresql"), tmp_path, FIRST - HOUR / 2, interval_minutes=60, timezone="UTC"
    ) as found:
        slots = [FIRST + number * HOUR for number in range(SLOTS)]
        kills = 0
        for slot in slots:
            kills += hit(found, slot, dice)
            found.done(slot)
            settled(found, slot)
        assert found.made() == {slot_key("one", slot): sorted(MADE) for slot in slots}
        attempts = [len(found.attempts(slot)) for slot in slots[-300:]]
        print(
            f"{kills} kills in {len(slots)} slots; attempts: { {n: attempts.count(n) for n in sorted(set(attempts))} }"
        )


def hit(found: Planned, slot: datetime, dice: random.Random) -> int:
    """Let a slot come, while the daemon runs or is down, and kill it once or twice. Returns how often."""
    if dice.random() < 0.5:
        found.product.kill()
        found.clock.move_to(slot + SECOND)
        found.product.start()
    else:
        found.clock.move_to(slot + SECOND)
    times = 1 + (dice.random() < 0.3)
    for _ in range(times):
        time.sleep(dice.uniform(0, _LONGEST))
        found.product.kill()
        found.product.start()
    begun(found)
    return times


def settled(found: Planned, slot: datetime) -> None:
    """Nothing runs, nothing lies around, catalog and disk agree, and the slot was tried no more often than allowed."""
    assert found.active() == []
    assert found.store.strays() == []
    assert found.store.secrets() == []
    assert found.control.backups().keys() == found.store.backups().keys()
    attempts = found.attempts(slot)
    assert [each["attempt"] for each in attempts] == list(range(1, len(attempts) + 1))
    assert len(attempts) <= 3
    assert all(each["state"] in {"interrupted", "succeeded"} for each in attempts)
