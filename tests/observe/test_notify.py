"""From events to mails: the right people, in the right number of mails, once, whatever goes wrong."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from tests.catalog.samples import NIGHT, backup, event
from tests.observe.house import MINUTE, House
from tests.waiting import soon
from vya_backupd import faults
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind, State
from vya_backupd.observe import notify_collect
from vya_backupd.observe.notify import LOOK_SECONDS, Notices
from vya_backupd.observe.notify_carrier import Means

DAY = timedelta(days=1)
_WELL, _BADLY = State.SUCCEEDED, State.FAILED


async def test_the_right_people_hear_of_each_end(house: House) -> None:
    for states in ((_WELL,), (_BADLY,), (_WELL, _BADLY), (State.INTERRUPTED,), (State.CANCELLED,)):
        await house.ended(*states)
    await house.tell()
    bad = ["ops@example.com", "db@example.com"]
    assert [(each.subject.partition("] ")[2], each.recipients) for each in house.mail.mails] == [
        ("backup succeeded: pg-0", ["glad@example.com"]),
        ("backup FAILED: pg-0", bad),
        ("backup PARTIAL: pg-0, pg-1 (1 of 2 databases)", bad),
        ("backup INTERRUPTED: pg-0", bad),
        ("backup CANCELLED: pg-0", bad),
    ]
    assert "nobody listens" in house.mail.mails[1].part("plain")
    assert "nobody listens" in house.mail.mails[1].part("html")
    assert [each["channel"] for each in await house.events("notification.sent")] == ["email"] * 5
    await house.tell(60)
    assert len(house.mail.mails) == 5


@pytest.mark.parametrize("kind", OperationKind)
async def test_success_is_told_of_backups_and_restores_and_failure_of_everything(
    house: House, kind: OperationKind
) -> None:
    await house.ended(State.SUCCEEDED, kind=kind)
    await house.ended(State.FAILED, kind=kind)
    await house.ended(State.FAILED, kind=kind, dry_run=True)
    await house.tell()
    told = [f"{kind} succeeded: pg-0"] if kind in {OperationKind.BACKUP, OperationKind.RESTORE} else []
    assert house.subjects == [*told, f"{kind} FAILED: pg-0"]


async def test_a_mail_compares_with_the_last_run_and_names_the_last_good_backup(house: House) -> None:
    await house.catalog.backups.record(backup("old", instance="pg-0", database="shop", size=2048), event())
    await house.catalog.backups.record(backup("users", instance="pg-0", database="@globals", size=2048), event())
    await house.ended(State.SUCCEEDED)
    house.now += DAY
    await house.ended(State.FAILED)
    await house.tell()
    failed = house.mail.mails[-1].part("plain")
    assert "newest good backup is of 2026-01-09 02:00:00 UTC, 1 d ago" in failed
    assert "(last time 4.0 KiB)" in failed
    assert "vyactl backup --instance pg-0 --database shop" in failed
    assert "(+100 % against last time)" in house.mail.mails[0].part("plain")
    assert "Protected now: 1 databases" in house.mail.mails[0].part("plain")


async def test_a_server_that_was_down_has_its_backups_and_the_command_names_what_exists(house: House) -> None:
    for name, age in (("shop", 1), ("notes", 3), ("@globals", 9)):
        made = backup(name, instance="pg-0", database=name, hours=-24 * age)
        await house.catalog.backups.record(made, event())
    await house.ended(State.FAILED, database="*")
    await house.ended(State.FAILED, database="@globals")
    await house.tell()
    down, users = (each.part("plain") for each in house.mail.mails)
    assert "pg-0 / all databases: failed" in down
    assert "Its databases have good backups, the oldest of the newest ones of 2026-01-06 02:00:00 UTC, 3 d ago" in down
    assert "have good backups" in house.mail.mails[0].part("html")
    assert "    vyactl backup --instance pg-0\n" in down
    assert "    vyactl backup --instance pg-0\n" in users


async def test_many_failures_share_a_mail(house: House) -> None:
    house.configure(email={"digest_after": 2, "digest_window": "10m"})
    for _ in range(30):
        await house.ended(State.FAILED)
    await house.tell()
    assert house.subjects == ["backup FAILED: pg-0"] * 2
    house.now += 5 * MINUTE
    await house.ended(State.FAILED)
    await house.ended(State.SUCCEEDED)
    await house.tell()
    assert house.subjects[2:] == ["backup succeeded: pg-0"]
    await house.tell(6)
    assert house.subjects[3:] == ["29 operations FAILED on 1 instances"]
    assert house.mail.mails[-1].part("plain").count("backup failed: pg-0") == 29
    # It is over: after a quiet while, a failure gets a mail of its own again.
    house.now += 30 * MINUTE
    await house.ended(State.FAILED)
    await house.tell()
    assert house.subjects[4:] == ["backup FAILED: pg-0"]


async def test_other_bad_news_are_mailed_and_gathered_too(house: House) -> None:
    house.configure(email={"digest_after": 1})
    for number in range(3):
        await house.catalog.record(Event("slot.missed", NIGHT, instance=f"pg-{number}", data={"count": 2}))
    await house.ended(State.FAILED)
    await house.catalog.record(Event("clock.jumped", NIGHT))
    await house.tell()
    await house.tell(10)
    assert house.subjects == ["slot.missed: pg-0", "3 failures and alerts on 3 instances"]
    assert "slot.missed: pg-2" in house.mail.mails[1].part("plain")
    assert "<b>slot.missed</b>: pg-2" in house.mail.mails[1].part("html")
    assert house.mail.mails[0].recipients == ["ops@example.com", "db@example.com"]


async def test_a_server_that_is_down_gets_the_mail_later_under_the_same_name(house: House) -> None:
    house.mail.is_down = True
    await house.ended(State.FAILED)
    await house.tell()
    await house.tell(0.5)
    [delayed] = await house.events("notification.delayed")
    assert delayed["error_code"] == "mail_unreachable"
    house.mail.is_down = False
    house.notices = house.start()
    await house.tell()
    assert house.mail.mails == []
    await house.tell(2)
    assert house.subjects == ["backup FAILED: pg-0"]
    await house.tell(600)
    assert len(house.mail.mails) == 1


async def test_a_mail_that_was_sent_and_not_marked_is_sent_again_as_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    await house.ended(State.FAILED)
    with monkeypatch.context() as crash:
        crash.setattr(house.catalog.outbox, "finish", dies)
        with pytest.raises(asyncio.CancelledError):
            await house.tell()
    house.notices = house.start()
    await house.tell()
    assert len({mail.message["Message-ID"] for mail in house.mail.mails}) == 1
    assert len(house.mail.mails) == 2


async def test_waits_grow_up_to_an_hour_and_end_some_time(house: House) -> None:
    house.configure(give_up_after="6h")
    house.mail.manners.answers["MAIL"] = lambda _: "451 not now"
    house.mail.commands.clear()
    await house.ended(State.FAILED)
    times = []
    while not await house.events("notification.failed"):
        before = house.mail.commands.count("MAIL")
        await house.tell()
        if house.mail.commands.count("MAIL") > before:
            times.append(house.now)
        due = await house.catalog.outbox.next_due(["email"])
        house.now = max(house.now, due or house.now)
    waits = [(later - earlier) / MINUTE for earlier, later in pairwise(times)]
    assert 0.7 < waits[0] < 1.3
    assert 0.7 * 60 < waits[-1] < 1.3 * 60
    assert timedelta(hours=4, minutes=30) < times[-1] - times[0] <= timedelta(hours=6)
    assert len(await house.events("notification.delayed")) == 1
    # Giving up is an event itself; telling people of it by the same mails would be in vain.
    assert await house.catalog.outbox.waiting(["email"]) == []


async def test_a_recipient_that_is_refused_for_good_does_not_hold_up_the_others(house: House) -> None:
    house.mail.manners.answers["RCPT"] = lambda address: "550 gone" if address.startswith("db@") else None
    await house.ended(State.FAILED)
    await house.tell()
    assert house.mail.mails[0].recipients == ["ops@example.com"]
    [lost] = await house.events("notification.failed")
    assert (lost["recipient"], lost["error_code"]) == ("db@example.com", "mail_refused")
    await house.tell(6000)
    assert len(house.mail.mails) == 1


async def test_a_recipient_that_is_refused_for_now_is_tried_again_alone(house: House) -> None:
    house.mail.manners.answers["RCPT"] = lambda address: "450 busy" if address.startswith("db@") else None
    await house.ended(State.FAILED)
    await house.tell()
    house.mail.manners.answers.clear()
    await house.tell(2)
    assert [mail.recipients for mail in house.mail.mails] == [["ops@example.com"], ["db@example.com"]]
    assert house.mail.mails[0].message["Message-ID"] == house.mail.mails[1].message["Message-ID"]


async def test_a_message_that_nobody_takes_is_given_up_at_once(house: House) -> None:
    house.mail.manners.answers["RCPT"] = lambda _: "550 gone"
    await house.ended(State.FAILED)
    await house.tell()
    lost = {each["recipient"] for each in await house.events("notification.failed")}
    assert lost == {"ops@example.com", "db@example.com"}
    assert await house.events("notification.sent") == []
    assert await house.catalog.outbox.next_due(["email"]) is None


async def test_what_was_before_mails_were_switched_on_is_not_mailed(house: House) -> None:
    house.configure(email={"enabled": False})
    await house.tell()
    await house.ended(State.FAILED)
    await house.tell()
    house.configure()
    await house.tell()
    assert house.mail.mails == []
    await house.ended(State.FAILED)
    await house.tell()
    assert len(house.mail.mails) == 1


async def test_the_event_that_finds_mails_just_switched_on_is_mailed(house: House) -> None:
    house.configure(email={"enabled": False})
    await house.tell()
    await house.ended(State.FAILED)
    house.configure()
    house.now += MINUTE
    unsubscribe = house.catalog.events.subscribe(house.notices.collector.observe)
    mailed = await house.ended(State.FAILED)
    unsubscribe()
    await house.tell()
    assert [mailed in mail.part("plain") for mail in house.mail.mails] == [True]


async def test_mails_that_wait_when_mails_are_switched_off_are_dropped(house: House) -> None:
    house.mail.manners.answers["MAIL"] = lambda _: "451 not now"
    await house.ended(State.FAILED)
    await house.tell()
    house.configure(email={"enabled": False})
    await house.tell(60)
    assert await house.catalog.outbox.next_due(["email"]) is None
    assert await house.events("notification.failed") == []


async def test_one_event_that_cannot_be_told_of_stops_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        message = "a defect"
        raise RuntimeError(message)

    with monkeypatch.context() as defect:
        defect.setattr(notify_collect, "operation_report", fails)
        await house.ended(State.FAILED)
        await house.tell()
    await house.ended(State.FAILED)
    await house.tell()
    assert house.subjects == ["notification.failed", "backup FAILED: pg-0"]


async def test_settling_tells_what_waits(house: House) -> None:
    house.configure(email={"digest_after": 1})
    for _ in range(3):
        await house.ended(State.FAILED)
    await house.notices.settle()
    assert house.subjects == ["2 operations FAILED on 1 instances", "backup FAILED: pg-0"][::-1]


async def test_it_lives_by_itself_and_ends_when_it_is_told(house: House) -> None:
    """The loops: an event wakes them, a server that was down is tried again after the configured wait."""
    house.configure(retry_wait="20ms")
    house.notices = Notices(
        house.catalog, Means(lambda: house.config, lambda: None, lambda: datetime.now(NIGHT.tzinfo))
    )
    house.mail.manners.answers["MAIL"] = lambda _: "451 not now"
    task = asyncio.create_task(house.notices.run())
    await house.ended(State.FAILED)
    tries = house.mail.commands.count("MAIL")
    await soon(lambda: house.mail.commands.count("MAIL") > tries + 1)
    house.mail.manners.answers.clear()
    await soon(lambda: house.mail.mails)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert house.subjects == ["backup FAILED: pg-0"]


async def test_a_catalog_that_fails_for_a_moment_delays_telling_for_a_moment(house: House) -> None:
    await house.ended(State.FAILED)
    faults.arm("catalog.writing=fail@1")
    try:
        async with asyncio.timeout(LOOK_SECONDS / 2):
            part = asyncio.create_task(house.notices.run())
            try:
                await soon(lambda: house.mail.mails, "a mail")
            finally:
                part.cancel()
                with suppress(asyncio.CancelledError):
                    await part
    finally:
        faults.arm("")
    assert house.subjects == ["backup FAILED: pg-0"]
