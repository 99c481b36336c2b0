"""What goes wrong in a week, and when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from tests.daemon.slots_rig import DAY, HOUR, MINUTE
from tests.observe.peers import MailPeer
from tests.simulation.life import Life
from tests.simulation.world import Point
from vya_backupd.model.event import Event
from vya_backupd.policy.due import Pause

Mishap = Callable[[Life], Awaitable[timedelta | None]]
"""What goes wrong. A time: the daemon is dead, and starts again so much later."""


def sticks(point: Point, *instances: str) -> Mishap:
    """The next run of these stops in its midst."""

    async def mishap(life: Life) -> None:
        life.world.stuck |= dict.fromkeys(instances, point)

    return mishap


async def goes_on(life: Life) -> None:
    """What stopped goes on."""
    life.world.wake()


def is_killed(down: timedelta = MINUTE, *, again: str = "") -> Mishap:
    """With what runs; the next run of ``again`` will stop, too."""

    async def mishap(life: Life) -> timedelta:
        if again:
            life.world.stuck[again] = Point.BEFORE
        return down

    return mishap


def is_stopped(down: timedelta) -> Mishap:
    """In good order."""

    async def mishap(life: Life) -> timedelta:
        await life.stop()
        return down

    return mishap


async def is_killed_at_work(life: Life) -> timedelta:
    """As soon as the first of the slots that are due is submitted, and wherever everything else happens to be.

    A daemon that has not looked yet finds something due; any other waits for it.
    """
    if life.slots.next_looks:
        starts = (life.slots.next_start(each) for each in life.slots.terms)
        life.world.clock.set(min(start for start in starts if start is not None) + 2 * MINUTE)
    await life.begin_and_halt()
    return MINUTE


def goes_dark(*instances: str) -> Mishap:
    """Nobody answers there."""

    async def mishap(life: Life) -> None:
        life.world.dark |= set(instances)

    return mishap


async def is_light_again(life: Life) -> None:
    """Everybody answers."""
    life.world.dark.clear()


def is_paused(instance: str, length: timedelta) -> Mishap:
    """Somebody wants it so."""

    async def mishap(life: Life) -> None:
        now = life.world.clock()
        event = Event("schedule.paused", now, instance=instance, actor="anna")
        await life.slots.pause(instance, Pause(now, "anna", now + length, "moving"), event)

    return mishap


def clock_is_set(by: timedelta) -> Mishap:
    """The daemon notices, and looks at everything."""

    async def mishap(life: Life) -> None:
        life.world.clock.set(life.world.clock() + by)
        await life.slots.look(everywhere=True)

    return mishap


def mail_server(peer: MailPeer, *, refuses: bool) -> Mishap:
    """It takes nothing, or does again."""

    async def mishap(_: Life) -> None:
        peer.manners.answers = {"MAIL": lambda _: "451 not now"} if refuses else {}

    return mishap


def mishaps(begin: datetime, peer: MailPeer) -> list[tuple[datetime, Mishap]]:
    """A bad week, from Thursday (0) to Wednesday (6), by day and UTC. The clock change is on Sunday (3)."""
    plan = {
        "0 09:10": goes_dark("busy", "six"),
        "0 13:10": is_light_again,
        "0 14:05": sticks(Point.BEFORE, "busy"),
        "0 15:10": is_killed(),
        "0 16:05": sticks(Point.PUBLISHED, "busy", "interval"),
        "0 16:06": sticks(Point.RECORDED, "evening"),
        "0 18:40": is_killed(),
        "1 06:10": is_stopped(30 * MINUTE),
        "1 06:50": sticks(Point.BEFORE, "busy"),
        "1 10:20": goes_on,
        "1 12:59": is_killed_at_work,
        "1 13:30": sticks(Point.BEFORE, "busy"),
        "1 15:20": is_stopped(5 * HOUR),
        "1 20:40": sticks(Point.BEFORE, "workday"),
        "1 22:20": is_killed(again="workday"),
        "1 22:40": is_killed(again="workday"),
        "1 22:57": is_killed(),
        "2 00:20": is_paused("six", DAY),
        "2 08:10": mail_server(peer, refuses=True),
        "2 11:40": mail_server(peer, refuses=False),
        "2 12:00": sticks(Point.BEFORE, "night", "twice"),
        "3 01:10": is_killed(5 * MINUTE),
        "3 08:20": clock_is_set(-2 * HOUR),
        "3 11:59": is_killed_at_work,
        "3 16:20": is_killed(5 * HOUR),
        "3 21:20": is_killed_at_work,
        "4 09:59": is_killed_at_work,
        "4 20:50": is_killed(14 * HOUR),
        "5 13:10": goes_dark("twice", "interval", "evening"),
        "5 15:20": clock_is_set(DAY),
        "6 16:20": is_light_again,
        "6 16:40": is_killed_at_work,
        "6 19:10": is_killed_at_work,
    }
    return [(_moment(begin, when), mishap) for when, mishap in plan.items()]


def _moment(begin: datetime, when: str) -> datetime:
    day, _, clock = when.partition(" ")
    hours, _, minutes = clock.partition(":")
    return begin + timedelta(days=int(day), hours=int(hours), minutes=int(minutes))
