"""A daemon that does not move for some seconds: stopped from outside, or its event loop held by one of its own."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

from tests.e2e.killing import Control
from tests.waiting import until
from vya_backupd.daemon.presence import LATE_SECONDS
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

STALL = LATE_SECONDS + 2.0


def is_live(product: Product) -> bool:
    """Whether the probe that asks for nothing but the event loop is answered at once."""
    port = int(product.events("public.listening")[-1]["port"])
    with socket.create_connection(("127.0.0.1", port), timeout=0.5) as probe:
        probe.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
        try:
            return b" 200 " in probe.recv(100)
        except TimeoutError:
            return False


def longest_stall(product: Product) -> float:
    """By what the daemon has said; 0 when it said nothing."""
    return max((float(each["seconds"]) for each in product.events("daemon.stalled")), default=0.0)


def test_a_stopped_process_and_a_held_loop_fail_the_probe_and_are_events_afterwards(
    any_postgresql: PrivateServer, tmp_path: Path, fresh_name: str
) -> None:
    """Both at once, in two daemons: the seconds of the stall are the test's own."""
    any_postgresql.create_database(fresh_name)
    faults = tmp_path / "faults"
    faults.write_text("")
    entry = instance(any_postgresql, "one", database=[fresh_name])
    held = Product(tmp_path / "a", [entry], servers=[any_postgresql], environ={"VYA_FAULTS": f"@{faults}"})
    try:
        with held, Product(tmp_path / "b", []) as stopped:
            until(lambda: is_live(held) and is_live(stopped))
            faults.write_text("backup.recorded=hang")
            operation = Control(held).back_up(databases=[fresh_name])
            until((tmp_path / "faults.hangs").exists, otherwise="the daemon did not come to the point")
            stopped.signal(signal.SIGSTOP)
            time.sleep(STALL)
            assert not is_live(held)
            assert not is_live(stopped)
            stopped.signal(signal.SIGCONT)
            faults.write_text("")
            for product in (held, stopped):
                until(lambda product=product: longest_stall(product) > LATE_SECONDS)  # type: ignore[misc]
                until(lambda product=product: is_live(product))  # type: ignore[misc]
                told = product.ok("audit", "show", "--kind", "daemon.stalled")["audit"]
                assert any(each["facts"]["seconds"] > LATE_SECONDS for each in told)
            assert Control(held).finished(operation)["operation"]["state"] == "succeeded"
    finally:
        any_postgresql.drop_database(fresh_name)
