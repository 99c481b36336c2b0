"""Letters: entered with their cursor, due, put off, ended with an event, and never told twice by the record."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.catalog.samples import NIGHT, backup, event
from vya_backupd.catalog import Catalog
from vya_backupd.catalog.outbox import Letter, LetterState
from vya_backupd.errors import StorageError

CURSOR = "cursor.notify"
MINUTE = timedelta(minutes=1)


def letter(channel: str = "email", topic: str = "error", *, minutes: int = 0, text: str = "ü") -> Letter:
    return Letter(channel, topic, {"text": text}, NIGHT + minutes * MINUTE)


async def test_letters_and_cursor_are_one_change(catalog: Catalog) -> None:
    await catalog.outbox.enqueue([letter(), letter("ping", minutes=5)], (CURSOR, "7"), NIGHT)
    assert await catalog.marks.get(CURSOR) == "7"
    found = await catalog.outbox.waiting(["email", "ping"])
    assert [(each.letter, each.attempts, each.created_at) for each in found] == [
        (letter(), 0, NIGHT),
        (letter("ping", minutes=5), 0, NIGHT),
    ]
    broken = Letter("email", "error", {}, NIGHT)
    object.__setattr__(broken, "topic", None)
    with pytest.raises(StorageError):
        await catalog.outbox.enqueue([letter(), broken], (CURSOR, "8"), NIGHT)
    assert await catalog.marks.get(CURSOR) == "7"
    assert len(await catalog.outbox.waiting(["email", "ping"])) == 2


async def test_only_what_is_due_comes_out(catalog: Catalog) -> None:
    await catalog.outbox.enqueue([letter(minutes=5), letter(minutes=1), letter("ping")], (CURSOR, "1"), NIGHT)
    assert await catalog.outbox.due(["email"], NIGHT) == []
    assert await catalog.outbox.next_due(["email"]) == NIGHT + MINUTE
    assert [each.letter for each in await catalog.outbox.due(["email"], NIGHT + MINUTE)] == [letter(minutes=1)]
    assert len(await catalog.outbox.due(["email", "ping"], NIGHT + 5 * MINUTE)) == 3
    assert await catalog.outbox.next_due(["webhook"]) is None


async def test_a_clock_that_went_back_delays_nothing_for_long(catalog: Catalog) -> None:
    await catalog.outbox.enqueue([letter(minutes=60 * 24 * 30)], (CURSOR, "1"), NIGHT)
    assert len(await catalog.outbox.due(["email"], NIGHT)) == 1


async def test_a_letter_is_put_off_and_ends_with_its_event(catalog: Catalog) -> None:
    await catalog.outbox.enqueue([letter()], (CURSOR, "1"), NIGHT)
    [waiting] = await catalog.outbox.due(["email"], NIGHT)
    await catalog.outbox.postpone([waiting], NIGHT + MINUTE, "no", body={"text": "the rest"})
    assert await catalog.outbox.due(["email"], NIGHT) == []
    [again] = await catalog.outbox.due(["email"], NIGHT + MINUTE)
    assert (again.id, again.attempts, again.letter.body) == (waiting.id, 1, {"text": "the rest"})
    sent = event("notification.sent", data={"channel": "email"})
    await catalog.outbox.finish([again], LetterState.SENT, NIGHT, events=[sent])
    assert await catalog.outbox.waiting(["email"]) == []
    assert [each.event for each in await catalog.events.after()] == [sent]
    # An ended letter stays ended, whoever still holds it.
    await catalog.outbox.postpone([again], NIGHT, "late")
    assert await catalog.outbox.waiting(["email"]) == []
    assert await catalog.outbox.forget(NIGHT) == 0
    assert await catalog.outbox.forget(NIGHT + MINUTE) == 1


async def test_recent_letters_are_counted_and_an_open_digest_is_found(catalog: Catalog) -> None:
    await catalog.outbox.enqueue([letter(), letter(topic="success")], (CURSOR, "1"), NIGHT)
    await catalog.outbox.enqueue([letter(topic="digest", minutes=9)], (CURSOR, "2"), NIGHT + MINUTE)
    assert await catalog.outbox.recent("email", ["error", "digest"], NIGHT) == 2
    assert await catalog.outbox.recent("email", ["error", "digest"], NIGHT + MINUTE) == 1
    assert await catalog.outbox.opened("email", "digest") == NIGHT + 9 * MINUTE
    assert await catalog.outbox.opened("email", "other") is None


async def test_the_newest_backups_of_each_database(catalog: Catalog) -> None:
    for number, (instance, database) in enumerate([("a", "x"), ("a", "x"), ("a", "x"), ("a", "y"), ("b", "x")]):
        stored = backup(f"b{number}", instance=instance, database=database, hours=number, size=number + 1)
        await catalog.backups.record(stored, event())
    found = await catalog.recency.newest(["a"])
    assert [(each.id, each.database, each.size_bytes) for each in found] == [
        ("b2", "x", 3),
        ("b1", "x", 2),
        ("b3", "y", 4),
    ]
    assert found[0].taken_at == NIGHT + timedelta(hours=2)
    assert [each.id for each in await catalog.recency.newest(["a", "b", "none"], 1)] == ["b2", "b3", "b4"]
