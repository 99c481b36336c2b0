"""The audit follows the events of a real catalog: over crashes, full disks and rotations, each of them once."""

from __future__ import annotations

import asyncio
import gzip
import json
import stat
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.observe.chains import follow
from vya_backupd.catalog import Catalog
from vya_backupd.config.keys import KeyMethod, Keyring
from vya_backupd.errors import StorageError
from vya_backupd.model.event import Event
from vya_backupd.model.origin import Origin, speaking_for
from vya_backupd.observe.audit import MARK, AuditTerms, AuditTrail
from vya_backupd.observe.audit_chain import Head, parse
from vya_backupd.observe.audit_file import AuditFile, forerunners, lines_of
from vya_backupd.observe.redaction import forget_secrets, register_secret
from vya_backupd.panels.audit import Wanted, entries, verified

AT = datetime(2026, 1, 9, 2, tzinfo=UTC)


@dataclass
class Rig:
    """A catalog, and a trail that can be thrown away like a process that died."""

    catalog: Catalog
    path: Path
    terms: AuditTerms
    trail: AuditTrail

    def restarted(self) -> None:
        self.trail = AuditTrail(self.catalog, lambda: self.terms, lambda: AT)

    async def happened(self, *numbers: int, write: bool = True) -> Head | None:
        await self.catalog.record(
            *(Event("backup.deleted", AT, None, "pg", "shop", "anna(7)", {"n": n}) for n in numbers)
        )
        return await self.trail.flushed() if write else None

    def written(self) -> list[int]:
        """What stands in all files, in order."""
        found = entries(self.path, Wanted(limit=1000), None)
        return [each["facts"]["n"] for each in found if each["event"] == "backup.deleted"]

    def events(self) -> list[str]:
        return [str(each["event"]) for each in entries(self.path, Wanted(limit=1000), None)]

    async def is_whole(self) -> bool:
        head = await self.trail.flushed()
        assert Head.from_json(await self.catalog.marks.get(MARK)).seq == head.seq
        return follow(forerunners(self.path), head).problems == []


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    catalog = Catalog(f"sqlite+aiosqlite:///{tmp_path / 'catalog.db'}")
    await catalog.open()
    terms = AuditTerms(tmp_path / "log" / "audit.log")
    made = Rig(catalog, terms.path, terms, AuditTrail(catalog, lambda: terms, lambda: AT))
    made.restarted()
    yield made
    await made.catalog.close()


async def test_an_entry_says_who_did_what_from_where_on_what(rig: Rig) -> None:
    with speaking_for(Origin(1000, 4711)):
        await rig.catalog.record(
            Event("operation.submitted", AT, "op1", actor="anna(1000)", data={"kind": "restore", "request": {"a": 1}})
        )
    denied = {"request": "POST /v1/operations", "error_code": "denied", "error": "not an operator"}
    await rig.catalog.record(Event("request.denied", AT, actor="eve(66)", data=denied))
    for name, state in (("operation.started", "running"), ("step.finished", "succeeded"), ("step.finished", "failed")):
        await rig.catalog.record(Event(name, AT, "op1", "pg", "shop", data={"state": state}))
    await rig.trail.flushed()
    _, submitted, refused, failed = [parse(raw).entry for raw in lines_of(rig.path)]
    assert submitted == {
        "at": "2026-01-09T02:00:00.000Z",
        "event": "operation.submitted",
        "actor": "anna(1000)",
        "from": {"uid": 1000, "pid": 4711, "client": "control"},
        "operation": "op1",
        "kind": "restore",
        "result": "accepted",
        "facts": {"request": {"a": 1}},
    }
    assert isinstance(refused, dict)
    assert isinstance(failed, dict)
    assert (refused["result"], refused["error_code"], refused["actor"]) == ("refused", "denied", "eve(66)")
    assert (failed["result"], failed["database"]) == ("failed", "shop")
    assert stat.S_IMODE(rig.path.stat().st_mode) == 0o600


async def test_a_secret_and_a_huge_request_do_not_get_in(rig: Rig) -> None:
    register_secret("canary-0815")
    try:
        await rig.catalog.record(Event("backup.deleted", AT, data={"path": "x/canary-0815/y"}))
        await rig.catalog.record(Event("operation.submitted", AT, data={"request": {"databases": ["d" * 60] * 1000}}))
        await rig.trail.flushed()
    finally:
        forget_secrets()
    text = rig.path.read_text()
    assert "canary" not in text
    assert "x/***/y" in text
    assert max(map(len, text.splitlines())) < 2000
    assert "left_out_bytes" in text


async def test_a_crash_between_line_and_mark_writes_no_line_twice_and_none_too_few(rig: Rig) -> None:
    await rig.happened(1, 2)
    before = await rig.catalog.marks.get(MARK)
    await rig.happened(3)
    await rig.catalog.marks.set(MARK, before or "")  # as it was when the process died
    rig.restarted()
    await rig.happened(4)
    assert rig.written() == [1, 2, 3, 4]
    assert await rig.is_whole()


async def test_a_crash_between_line_and_mark_and_a_rotation_before_the_start(rig: Rig) -> None:
    await rig.happened(1)
    before = await rig.catalog.marks.get(MARK)
    await rig.happened(2)
    await rig.catalog.marks.set(MARK, before or "")
    packed = rig.path.with_name("audit.log.1.gz")
    packed.write_bytes(gzip.compress(rig.path.read_bytes()))
    rig.path.unlink()
    rig.restarted()
    await rig.happened(3)
    assert rig.written() == [1, 2, 3]
    assert await rig.is_whole()


@pytest.mark.parametrize("kept", [1, 40, -1])
async def test_half_a_line_of_a_crash_is_cut_off_and_said(rig: Rig, kept: int) -> None:
    await rig.happened(1)
    before, size = await rig.catalog.marks.get(MARK), rig.path.stat().st_size
    await rig.happened(2)
    content = rig.path.read_bytes()
    rig.path.write_bytes(content[:size] + content[size:][:kept])
    await rig.catalog.marks.set(MARK, before or "")
    rig.restarted()
    await rig.happened(3)
    await rig.trail.flushed()
    assert rig.written() == [1, 2, 3]
    assert rig.events().count("audit.damaged") == 1
    assert await rig.is_whole()


async def test_lines_that_were_cut_off_stay_missing_for_ever(rig: Rig) -> None:
    await rig.happened(1)
    whole = rig.path.read_bytes()
    await rig.happened(2, 3)
    rig.path.write_bytes(whole)
    rig.restarted()
    head = await rig.happened(4)
    found = follow([rig.path], head)
    assert [(each.kind, each.line, each.seq) for each in found.problems] == [("missing", 3, 3)]
    assert "audit.damaged" in rig.events()
    assert rig.written() == [1, 4]


async def test_a_last_line_that_was_cut_short_is_found_and_the_chain_goes_on(rig: Rig) -> None:
    await rig.happened(1, 2)
    rig.path.write_bytes(rig.path.read_bytes()[:-20])
    rig.restarted()
    head = await rig.happened(3)
    found = follow([rig.path], head)
    assert [(each.kind, each.line) for each in found.problems] == [("changed", 3)]
    assert rig.written() == [1, 3]


async def test_a_rotation_goes_on_in_a_new_file(rig: Rig) -> None:
    await rig.happened(1)
    rig.path.rename(rig.path.with_name("audit.log.1"))
    await rig.happened(2)
    rig.path.write_bytes(b"")  # copytruncate
    rig.restarted()
    await rig.happened(3)
    assert rig.path.with_name("audit.log.1").exists()
    assert rig.written() == [1, 3]
    rig.path.rename(rig.path.with_name("audit.log.0"))
    rig.path.touch(0o644)  # as a rotation makes a new one
    await rig.happened(4)
    assert stat.S_IMODE(rig.path.stat().st_mode) == 0o600


async def test_a_disk_that_refuses_loses_nothing(rig: Rig) -> None:
    await rig.happened(1)
    folder = rig.path.parent
    folder.rename(folder.with_name("away"))
    folder.write_text("in the way")
    for _ in range(2):
        with pytest.raises(StorageError) as refused:
            await rig.happened(2)
        assert refused.value.code == "audit_unwritable"
    folder.unlink()
    folder.with_name("away").rename(folder)
    await rig.happened(3)
    assert rig.written() == [1, 2, 2, 3]
    assert await rig.is_whole()


async def test_whoever_is_cancelled_twice_waits_for_the_line_that_is_being_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, append = threading.Event(), threading.Event(), AuditFile.append

    def slow(file: AuditFile, *line: Any) -> Head:
        begun.set()
        may_end.wait(60)
        return append(file, *line)

    monkeypatch.setattr(AuditFile, "append", slow)
    writing = asyncio.ensure_future(rig.happened(1))
    assert await asyncio.to_thread(begun.wait, 60)
    for _ in range(2):
        writing.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not writing.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await rig.happened(2)
    assert rig.written() == [1, 2]
    assert await rig.is_whole()


async def test_a_new_catalog_goes_on_after_the_lines_of_the_old_one(rig: Rig, tmp_path: Path) -> None:
    await rig.happened(1, 2, 3)
    await rig.catalog.close()
    rig.catalog = Catalog(f"sqlite+aiosqlite:///{tmp_path / 'new.db'}")
    await rig.catalog.open()
    rig.restarted()
    await rig.happened(4)
    rig.restarted()
    await rig.happened(5)
    assert rig.written() == [1, 2, 3, 4, 5]
    assert await rig.is_whole()
    assert rig.events().count("audit.damaged") == 1


async def test_encrypted_entries_are_read_after_the_key_was_changed(rig: Rig) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    for keys, number in (([old], 1), ([new, old], 2)):
        rig.terms = AuditTerms(rig.path, Keyring(KeyMethod.KEY_FILE, keys, "k").encrypt)
        await rig.happened(number)
    assert "anna" not in rig.path.read_text()
    both = Keyring(KeyMethod.KEY_FILE, [new, old], "k")
    shown = entries(rig.path, Wanted(), both.decrypt)
    assert [each["facts"]["n"] for each in shown if each["event"] == "backup.deleted"] == [1, 2]
    head = await rig.trail.flushed()
    assert verified([rig.path], head, both.decrypt)["ok"]
    lacking = verified([rig.path], head, Keyring(KeyMethod.KEY_FILE, [new], "k").decrypt)
    assert [each["line"] for each in lacking["problems"]] == [2]
    hidden = entries(rig.path, Wanted(), Keyring(KeyMethod.KEY_FILE, [new], "k").decrypt)
    assert [each["event"] for each in hidden] == ["audit.opened", "audit.encrypted", "backup.deleted"]


async def test_entries_are_chosen_by_time_actor_and_kind(rig: Rig) -> None:
    await rig.happened(1)
    await rig.catalog.record(Event("backup.held", AT.replace(hour=5), actor="bob(8)", data={"kind": "x"}))
    await rig.trail.flushed()

    def chosen(**wanted: Any) -> list[str]:
        return [str(each["event"]) for each in entries(rig.path, Wanted(**wanted), None)]

    assert chosen(since=AT.replace(hour=3)) == ["backup.held"]
    assert chosen(until=AT.replace(hour=3), kind="backup.*") == ["backup.deleted"]
    assert chosen(actor="bob") == chosen(actor="bob(8)") == chosen(limit=1) == ["backup.held"]
    assert chosen(actor="bo") == []


def test_a_head_survives_its_way_through_the_catalog() -> None:
    head = Head(3, "a" * 64, 9, "c")
    assert Head.from_json(head.to_json()) == head
    assert json.loads(head.to_json())["seq"] == 3
