"""Slots are shared by all dumps, and no dump stands still for want of one."""

from __future__ import annotations

import threading

from tests.waiting import until
from vya_backupd.pipeline.slots import Share, Slots


def _takes(share: Share) -> threading.Thread:
    thread = threading.Thread(target=share.take, daemon=True)
    thread.start()
    return thread


def test_dumps_share_what_there_is() -> None:
    slots = Slots(3)
    first, second = slots.share(5), slots.share(5)
    for _ in range(3):
        first.take()
    waiting = _takes(first)
    second.take()
    second.take()
    assert waiting.is_alive(), "everything is taken, and the first dump has more than its sure part"
    assert (first.taken, second.taken) == (3, 2), "the second has its sure part all the same"
    second.give(2)
    assert waiting.is_alive(), "three are still taken"
    first.give(1)
    waiting.join(10)
    assert first.taken == 3


def test_a_dump_takes_no_more_than_its_own() -> None:
    share = Slots(100).share(3)
    for _ in range(3):
        share.take()
    waiting = _takes(share)
    assert waiting.is_alive()
    share.give(3)
    until(lambda: share.taken == 1)
    waiting.join(10)


def test_the_largest_segment_always_finds_room() -> None:
    slots = Slots(1)
    shares = [slots.share(0) for _ in range(4)]
    for share in shares:
        share.take()
        share.take()
    assert [share.taken for share in shares] == [2, 2, 2, 2]
