"""From events to webhooks and pings: signed, tried again, told once, and to nobody else."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from tests.catalog.samples import NIGHT
from tests.observe.house import House
from vya_backupd.catalog.outbox import Letter
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind, State

_WELL, _BADLY = State.SUCCEEDED, State.FAILED


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


async def test_a_ping_that_got_stuck_does_not_take_back_what_a_later_one_said(house: House) -> None:
    house.configure(email={"enabled": False}, ping=pings(house, "/{instance}"))
    house.http.statuses = [500]
    await house.ended(State.SUCCEEDED, State.SUCCEEDED)
    await house.tell()
    await house.ended(State.FAILED)
    await house.tell()  # the success waits for its next attempt, which is not due yet
    await house.tell(5)
    assert house.http.paths == ["/well/pg-0", "/badly/pg-0", "/well/pg-1"]
    assert await house.catalog.outbox.next_due(["ping"]) is None
    assert not await house.events("notification.failed")


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
