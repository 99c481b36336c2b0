"""The same product inside a client's process, for as long as that client's work lasts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from vya_backupd import faults
from vya_backupd.app import App
from vya_backupd.config.concealing import conceal
from vya_backupd.config.environment import keys_in
from vya_backupd.daemon.lifecycle import harden
from vya_backupd.wiring import configure_log


@contextlib.contextmanager
def standalone(config_path: Path) -> Iterator[Path]:
    """The same product inside this process, on a private control socket, for as long as the block lasts.

    Leaving the block normally waits for running work; leaving it by an exception ends that work at once.

    Raises:
        VyaError: as the daemon's start.
    """
    harden()
    faults.arm(os.environ.get("VYA_FAULTS", ""))
    with tempfile.TemporaryDirectory(prefix="vya-") as folder:
        path = Path(folder) / "control.sock"
        app = App(config_path, control_socket=path, public=False)
        conceal(keys_in(os.environ))
        configure_log(app.settings)
        with _in_thread(app):
            yield path


@contextlib.contextmanager
def _in_thread(app: App) -> Iterator[None]:
    failures: list[BaseException] = []

    def live() -> None:
        try:
            asyncio.run(app.run(signals=False))
        except BaseException as error:  # noqa: BLE001 - raised in the waiting thread
            failures.append(error)
        finally:
            app.started.set()

    thread = threading.Thread(target=live, name="standalone")
    thread.start()
    app.started.wait()
    try:
        if not failures:
            yield
    except BaseException:
        app.lifecycle.stop_deadline = 0
        raise
    finally:
        if thread.is_alive():
            app.finish("the standalone run is over")
        thread.join()
    if failures:
        raise failures[0]
