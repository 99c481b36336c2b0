"""A process that publishes one backup, or deletes it, and kills itself at a named step. Run by the crash and trace tests.

``python -m tests.storage.publisher FOLDER publish|delete STEP [rename]``
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.storage.samples import CODEC, PATH, manifest_for, publish
from vya_backupd.model.backup import StoredBackup
from vya_backupd.storage import LocalStore
from vya_backupd.storage.placing import Placement

CONTENT = b"whole " * 1000


def main(folder: str, what: str, fatal: str, placement: str = "link") -> None:
    def step(name: str) -> None:
        if name == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    store = LocalStore(Path(folder) / "backups", CODEC, step=step)
    store.prepare()
    if placement == "rename":
        store._placement = Placement.RENAME
    print("prepared", file=sys.stderr, flush=True)
    if what == "publish":
        asyncio.run(publish(store, CONTENT, PATH, manifest_for(CONTENT)))
    else:
        store.delete(StoredBackup(store.read_manifest(PATH), PATH))


if __name__ == "__main__":
    main(*sys.argv[1:])
