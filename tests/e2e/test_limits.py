"""Limits on the real daemon: rates, priorities and blackouts, changed while work runs."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ServerPool
from tests.e2e.killing import Control
from tests.e2e.scheduling import HOUR, MINUTE, SECOND, planned
from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

DATABASE, COPY = "limited", "limited_copy"
RAW = 3_000_000
"""Bytes of dump, about."""
DAY = datetime(2026, 6, 10, tzinfo=UTC)
_IOPRIO_GET = {"x86_64": 252, "aarch64": 31}


@pytest.fixture(scope="module")
def server(server_pool: ServerPool) -> Iterator[PrivateServer]:
    found = server_pool.get("postgresql")
    for name in (DATABASE, COPY):
        found.drop_database(name)
    found.create_database(DATABASE)
    found.sql(
        "create table t (id int primary key, b text);"
        "insert into t select n, repeat(md5(n::text), 30) from generate_series(1, 3000) n",
        DATABASE,
    )
    yield found
    for name in (DATABASE, COPY):
        found.drop_database(name)


@pytest.fixture(scope="module")
def product(server: PrivateServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """One daemon for the tests of this module; the stall timeout is shorter than a throttled dump takes."""
    config = {"backup": {"stall_timeout": "5s", "verify_integrity": False}, "limits": {"bytes_per_second": "200k"}}
    with Product(
        tmp_path_factory.mktemp("limits"), [instance(server, "one")], servers=[server], config=config
    ) as found:
        yield found


def begin(product: Product) -> str:
    """A backup that is under way."""
    request = {"instances": ["one"], "databases": [DATABASE], "globals": False}
    answer = Control(product).ask("POST", "/v1/operations", {"kind": "backup", "request": request})
    until(lambda: progress(product))
    return str(answer["operation"]["id"])


def progress(product: Product) -> int:
    """Bytes of dump that were read so far by what runs."""
    return sum(each["bytes_done"] for each in Control(product).ask("GET", "/v1/status")["progress"])


def ended(product: Product, operation: str) -> Any:
    def final() -> Any:
        found = Control(product).ask("GET", f"/v1/operations/{operation}")
        return found if found["operation"]["state"] not in {"queued", "running"} else None

    return until(final)


def tools(product: Product) -> list[int]:
    """The dump tools that the daemon runs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == product.process.pid and b"pg_dump" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def niceness(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[16])


def io_priority(pid: int) -> int:
    return int(ctypes.CDLL(None).syscall(_IOPRIO_GET[os.uname().machine], 1, pid))


def reconfigure(product: Product, **limits: Any) -> None:
    """Have the daemon read its configuration again, with these limits."""
    seen = len(product.events("config.reloaded"))
    config = yaml.safe_load(product.config_path.read_text())
    config["limits"] = limits
    product.config_path.write_text(yaml.safe_dump(config))
    product.signal(signal.SIGHUP)
    until(lambda: len(product.events("config.reloaded")) > seen)


def test_a_limit_is_kept_is_no_stall_and_goes_while_work_runs(product: Product) -> None:
    begun = time.monotonic()
    operation = begin(product)
    # Before its limit goes it cannot be through: that would take a quarter of a minute, and three stall timeouts.
    until(lambda: progress(product) > 700_000 and time.monotonic() - begun > 6)
    assert progress(product) <= 200_000 * (time.monotonic() - begun) + 300_000
    shown = product.ok("throttle", "set", "none", "--for", "1h")["limits"][0]
    assert (shown["instance"], shown["flow"], shown["bytes_per_second"]) == (None, "dump", None)
    assert shown["configured"] == 200_000
    assert shown["until"] is not None
    assert ended(product, operation)["operation"]["state"] == "succeeded"
    assert product.events("throttle.set")[-1]["flow"] == "dump"


def test_what_was_set_by_hand_survives_a_restart_until_it_is_reset(product: Product) -> None:
    product.ok("throttle", "set", "64KiB", "--instance", "one", "--restore")
    product.kill()
    product.start()
    shown = {(each["instance"], each["flow"]): each for each in product.ok("throttle", "show")["limits"]}
    assert shown["one", "restore"]["bytes_per_second"] == 65536
    assert shown[None, "dump"]["bytes_per_second"] is None
    assert "64.0 KiB/s" in product.ctl("throttle", "show").out
    product.ok("throttle", "reset", "--instance", "one", "--restore")
    left = product.ok("throttle", "reset")["limits"]
    assert [each["bytes_per_second"] for each in left if each["flow"] == "dump"] == [200_000, None]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("set", "fast"), 2),
        (("set", "10"), 2),
        (("set", "20MB", "--for", "never"), 2),
        (("set", "20MB", "--until", "2020-01-01 00:00"), 2),
        (("set", "20MB", "--until", "2090-01-01 00:00", "--for", "2h"), 2),
        (("reset", "--instance", "nobody"), 4),
    ],
)
def test_what_makes_no_limit_is_refused(product: Product, arguments: tuple[str, ...], code: int) -> None:
    assert product.ctl("throttle", *arguments).code == code


def test_tools_give_way_from_their_start_and_more_when_told(product: Product) -> None:
    """Niceness and disk priority of the process itself, as the kernel tells them."""
    mine = niceness(product.process.pid)
    reconfigure(product, bytes_per_second="100k", nice=3, io_priority="6")
    operation = begin(product)
    (tool,) = until(lambda: tools(product))
    assert (niceness(tool), io_priority(tool)) == (min(19, mine + 3), 2 << 13 | 6)
    reconfigure(product, bytes_per_second="100k", nice=7, io_priority="idle")
    assert (niceness(tool), io_priority(tool)) == (min(19, mine + 7), 3 << 13)
    assert niceness(product.process.pid) == mine
    reconfigure(product)
    assert ended(product, operation)["operation"]["state"] == "succeeded"


def test_a_restore_is_held_back_too(product: Product) -> None:
    assert ended(product, begin(product))["operation"]["state"] == "succeeded"
    reconfigure(product, restore_bytes_per_second="1500k")
    begun = time.monotonic()
    arguments = ("--database", DATABASE, "--latest", "--target-database", COPY, "--yes")
    product.ok("restore", "--instance", "one", *arguments)
    assert time.monotonic() - begun >= RAW / 1_500_000 - 0.3


def test_slots_wait_for_the_end_of_a_blackout(server_pool: ServerPool, tmp_path: Path) -> None:
    blackouts = {"limits": {"blackouts": [{"days": "mon-fri", "hours": "09:00-18:00"}]}}
    morning, evening = DAY + 9 * HOUR, DAY + 18 * HOUR
    server = server_pool.get("postgresql")
    with planned(server, tmp_path, morning - HOUR, more=blackouts, cron="0 9-17/4 * * *", timezone="UTC") as found:
        assert found.schedule()["next_start"] == evening.isoformat()
        found.clock.move_to(morning + MINUTE)
        said = until(lambda: found.said("slot.postponed"))[-1]
        assert (said["slot"], said["until"]) == (morning.isoformat(), evening.isoformat())
        shown = found.product.ctl("schedule", "list").out.splitlines()[1]
        assert "blackout until 2026-06-10 18:00:00" in shown
        by_hand = found.product.ctl("backup", "--database", "sched_a", "--no-wait")
        assert by_hand.code == 0
        assert "does not wait" in by_hand.err
        until(lambda: not found.active())
        found.clock.move_to(evening - 2 * SECOND)
        last = found.done(evening - HOUR)
        assert (last["state"], last["attempt"]) == ("succeeded", 1)
        assert found.said("slot.coalesced")[-1]["count"] == 2
        assert len(found.said("slot.postponed")) == 1
        assert not found.said("slot.missed")
        assert not found.said("slot.caught_up")


def test_doubts_are_told_when_the_configuration_is_checked(product: Product) -> None:
    always = {"hours": "00:00-24:00"}
    reconfigure(product, blackouts=[{"hours": "09:00-18:00", "action": "throttle", "bytes_per_second": "1MB"}])
    assert product.ok("config", "validate", "--config", str(product.config_path))["warnings"] == []
    config = yaml.safe_load(product.config_path.read_text())
    config["limits"] = {"blackouts": [always]}
    config["scheduling"] = {"enabled": True, "cron": "0 2 * * *"}
    other = product.config_path.with_name("other.yaml")
    other.write_text(yaml.safe_dump(config))
    (warning,) = product.ok("config", "validate", "--config", str(other))["warnings"]
    assert "no opening" in warning
    config["limits"] = {"blackouts": [{"hours": "01:00-05:00"}]}
    other.write_text(yaml.safe_dump(config))
    (warning,) = product.ok("config", "validate", "--config", str(other))["warnings"]
    assert "every slot" in warning
