"""From events to whoever is to be told: the right people, in the right number of mails, once, whatever goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.samples import NIGHT, backup, event, operation
from tests.observe.peers import HttpPeer, MailPeer
from tests.waiting import soon
from vya_backupd.catalog import Catalog
from vya_backupd.catalog.outbox import Letter
from vya_backupd.config.load import load
from vya_backupd.daemon.facts import finished_facts
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind, State, Step
from vya_backupd.observe import notify_collect
from vya_backupd.observe.notify import Notices
from vya_backupd.observe.notify_carrier import Means

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
_WELL, _BADLY = State.SUCCEEDED, State.FAILED
BAD = {"code": "connection_refused", "message": "nobody listens", "hint": "start it"}


class House:
    """A catalog, a configuration and a clock that only moves when it is moved; and whoever tells the world of them."""

    def __init__(self, folder: Path, catalog: Catalog, mail: MailPeer, http: HttpPeer) -> None:
        self.folder = folder
        self.catalog = catalog
        self.mail = mail
        self.http = http
        self.now = NIGHT
        self._numbers = iter(range(1000))
        self.configure()
        self.notices = self.start()

    def configure(self, *, email: dict[str, Any] | None = None, **keys: Any) -> None:
        mails = {
            "enabled": True,
            "smtp_host": "127.0.0.1",
            "smtp_port": self.mail.port,
            "use_tls": False,
            "from_address": "backup@example.com",
            "success_recipients": ["glad@example.com"],
            "error_recipients": ["ops@example.com", "db@example.com"],
        }
        settings = {
            "application": {"environment": "dev", "hostname": "site-a"},
            "scheduling": {"timezone": "UTC"},
            "notifications": {"timeout": "20s", "email": mails | (email or {}), **keys},
        }
        path = self.folder / "config.yaml"
        path.write_text(json.dumps(settings))
        self.config = load(path, {})

    def start(self) -> Notices:
        """As a start of the daemon."""
        return Notices(self.catalog, Means(lambda: self.config, lambda: None, lambda: self.now))

    async def tell(self, minutes: float = 0) -> None:
        """Let time pass, and do what the part does by itself: read, and carry what is due."""
        self.now += minutes * MINUTE
        await self.notices.collector.collect()
        for carrier in (self.notices.mail, self.notices.http):
            await self.notices.empty(carrier)

    async def ended(
        self,
        *states: State,
        end: State | None = None,
        kind: OperationKind = OperationKind.BACKUP,
        dry_run: bool = False,
    ) -> str:
        """An operation with one database for each state, ended; every database of an instance of its own."""
        number = next(self._numbers)
        steps = tuple(
            Step(f"pg-{place}", "shop", state, None, None if state is State.SUCCEEDED else BAD, {"size_bytes": 4096})
            for place, state in enumerate(states)
        )
        end = end or (states[0] if len(set(states)) == 1 else State.PARTIAL)
        made = operation(f"op{number}", kind=kind, steps=steps, request={"dry_run": dry_run})
        made = replace(made, submitted_at=self.now, submitted_by="anna")
        await self.catalog.operations.submit(made)
        await self.catalog.operations.advance(made.id, State.RUNNING, event=Event("operation.started", self.now))
        facts = finished_facts(made, end, engine_of=lambda _: "postgresql")
        done = Event("operation.finished", self.now, made.id, actor="anna", data=facts)
        await self.catalog.operations.advance(made.id, end, event=done)
        return made.id

    async def events(self, name: str) -> list[dict[str, Any]]:
        return [each.event.data for each in await self.catalog.events.after() if each.event.name == name]

    @property
    def subjects(self) -> list[str]:
        return [each.subject.removeprefix("[site-a] ") for each in self.mail.mails]


@pytest.fixture(scope="module")
def mail_peer() -> Iterator[MailPeer]:
    with MailPeer() as peer:
        yield peer


@pytest.fixture(scope="module")
def http_peer() -> Iterator[HttpPeer]:
    with HttpPeer() as peer:
        yield peer


@pytest.fixture
async def house(tmp_path: Path, mail_peer: MailPeer, http_peer: HttpPeer) -> AsyncIterator[House]:
    mail_peer.is_down = False
    mail_peer.mails.clear()
    mail_peer.manners.answers.clear()
    http_peer.requests.clear()
    http_peer.statuses.clear()
    catalog = Catalog(f"sqlite+aiosqlite:///{tmp_path / 'catalog.db'}")
    await catalog.open()
    house = House(tmp_path, catalog, mail_peer, http_peer)
    await house.tell()  # from here on: what was before is nobody's business
    yield house
    await catalog.close()


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
    await house.ended(State.SUCCEEDED)
    house.now += DAY
    await house.ended(State.FAILED)
    await house.tell()
    failed = house.mail.mails[-1].part("plain")
    assert "newest good backup is of 2026-01-09 02:00:00 UTC, 1 d ago" in failed
    assert "(last time 4.0 KiB)" in failed
    assert "vyactl backup --instance pg-0 --database shop" in failed
    assert "(+100 % against last time)" in house.mail.mails[0].part("plain")


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


# webhooks and pings


def hook(house: House, **keys: Any) -> dict[str, Any]:
    return {"url": house.http.url("/hook/s3cr3t-path"), "secret": "sh4red-secret", **keys}


async def test_a_webhook_is_signed_tried_again_and_told_once(house: House) -> None:
    house.configure(email={"enabled": False}, webhooks=[hook(house)])
    house.http.statuses = [500]
    ended = await house.ended(State.SUCCEEDED, State.FAILED)
    await house.tell()
    await house.tell(2)
    await house.tell(600)
    first, second = house.http.requests
    assert (second.method, second.path) == ("POST", "/hook/s3cr3t-path")
    for each in (first, second):
        signed = each.headers["X-VYA-Timestamp"].encode() + b"." + each.body
        expected = hmac.new(b"sh4red-secret", signed, hashlib.sha256).hexdigest()
        assert each.headers["X-VYA-Signature"] == f"sha256={expected}"
    assert first.headers["X-VYA-Delivery"] == second.headers["X-VYA-Delivery"]
    assert first.headers["X-VYA-Timestamp"] != second.headers["X-VYA-Timestamp"]
    payload = json.loads(second.body)
    assert payload["event"]["name"] == second.headers["X-VYA-Event"] == "operation.finished"
    assert (payload["operation"]["id"], payload["operation"]["state"]) == (ended, "partial")
    assert [step["state"] for step in payload["steps"]] == ["failed", "succeeded"]
    [delayed] = await house.events("notification.delayed")
    assert "answered 500: answer 500" in delayed["reason"]
    everything = json.dumps([each.event.data for each in await house.catalog.events.after()])
    assert "s3cr3t-path" not in everything
    assert "sh4red-secret" not in everything


async def test_a_webhook_hears_of_the_events_that_it_wants(house: House) -> None:
    wants = [hook(house, events=["retention.*"]), {"url": house.http.url("/other"), "events": ["*"]}]
    house.configure(email={"enabled": False}, webhooks=wants)
    await house.catalog.record(Event("retention.applied", NIGHT, data={"deleted": 3}))
    await house.catalog.record(Event("schedule.paused", NIGHT))
    await house.tell()
    await house.tell(1)  # that it was told is an event as well, and of no interest to the channel itself
    told = [(each.path, each.headers["X-VYA-Event"]) for each in house.http.requests]
    assert told == [
        ("/hook/s3cr3t-path", "retention.applied"),
        ("/other", "retention.applied"),
        ("/other", "schedule.paused"),
    ]
    assert json.loads(house.http.requests[0].body)["event"]["data"] == {"deleted": 3}
    assert "X-VYA-Signature" not in house.http.requests[1].headers


async def test_a_redirect_is_not_followed_and_gone_is_gone(house: House) -> None:
    house.configure(email={"enabled": False}, webhooks=[hook(house)])
    house.http.statuses = [302, 410]
    await house.ended(State.FAILED)
    await house.tell()
    await house.tell(2)
    await house.tell(600)
    assert house.http.paths == ["/hook/s3cr3t-path"] * 2
    assert len(await house.events("notification.failed")) == 1


async def test_an_address_that_is_down_is_tried_once_a_round(house: House) -> None:
    house.configure(email={"enabled": False}, webhooks=[hook(house), {"url": house.http.url("/other")}])
    house.http.statuses = [503, 200]
    for _ in range(3):
        await house.ended(State.FAILED)
    await house.tell()
    assert sorted(house.http.paths) == ["/hook/s3cr3t-path", "/other", "/other", "/other"]
    await house.tell(2)
    assert house.http.paths.count("/hook/s3cr3t-path") == 4


async def test_a_webhook_that_is_configured_no_more_is_dropped(house: House) -> None:
    house.configure(email={"enabled": False}, webhooks=[hook(house)])
    house.http.statuses = [500]
    await house.ended(State.FAILED)
    await house.tell()
    house.configure(email={"enabled": False})
    await house.tell(60)
    assert len(house.http.requests) == 1
    assert await house.catalog.outbox.next_due(["webhook"]) is None


def pings(house: House, suffix: str = "") -> dict[str, Any]:
    return {"success_url": house.http.url(f"/well{suffix}"), "failure_url": house.http.url(f"/badly{suffix}")}


async def test_pings_say_how_each_backup_ended(house: House) -> None:
    house.configure(email={"enabled": False}, ping=pings(house))
    for states in ((_WELL,), (_BADLY, _WELL)):
        await house.ended(*states)
        await house.tell()
    await house.ended(State.SUCCEEDED, kind=OperationKind.RESTORE)
    await house.ended(State.SUCCEEDED, dry_run=True)
    await house.tell()
    assert [(each.method, each.path) for each in house.http.requests] == [("GET", "/well"), ("GET", "/badly")]


async def test_pings_of_each_instance(house: House) -> None:
    house.configure(email={"enabled": False}, ping=pings(house, "/{instance}"))
    await house.ended(State.FAILED, State.SUCCEEDED)
    await house.tell()
    assert house.http.paths == ["/badly/pg-0", "/well/pg-1"]


async def test_only_the_newest_ping_counts_and_none_is_made_after_hours(house: House) -> None:
    house.configure(email={"enabled": False}, ping=pings(house))
    house.http.statuses = [500]
    await house.ended(State.SUCCEEDED)
    await house.tell()
    await house.ended(State.FAILED)
    await house.tell(5)
    assert house.http.paths == ["/well", "/badly"]
    house.http.statuses = [500] * 100
    await house.ended(State.SUCCEEDED)
    for _ in range(8):
        await house.tell(60)
    tried = len(house.http.requests)
    house.http.statuses.clear()
    await house.tell(60)
    assert len(house.http.requests) == tried
    assert [each["channel"] for each in await house.events("notification.failed")] == ["ping"]


async def test_a_letter_that_nobody_can_carry_is_no_failure_of_those_before_it(house: House) -> None:
    house.configure(email={"enabled": False}, webhooks=[{"url": house.http.url("/hook")}])
    await house.ended(_WELL)
    await house.notices.collector.collect()
    broken = Letter("webhook", "operation.finished", {}, house.now)
    await house.catalog.outbox.enqueue([broken], ("cursor.other", "0"), house.now)
    await house.tell()
    assert house.http.paths == ["/hook"]
    assert [each["error_code"] for each in await house.events("notification.delayed")] == ["internal"]
    assert len(await house.catalog.outbox.waiting(["webhook"])) == 1
