"""Named points at which a test may end or hold the process, to prove what a crash there leaves behind.

A point costs one dictionary look-up, and nothing is armed unless the environment of the daemon says so:
``VYA_FAULTS=store.placed=kill,backup.dumped=hang``. Whoever can set the daemon's environment owns the daemon anyway.
"""

from __future__ import annotations

import os
import signal
import time

from vya_backupd.errors import VyaError

POINTS = (
    "backup.probed",
    "backup.dumping",
    "backup.dumped",
    "store.synced",
    "store.placed",
    "store.checksum",
    "store.manifest",
    "backup.recorded",
    "store.tombstone",
    "store.emptied",
    "store.deleted",
    "restore.created",
    "restore.fed",
    "restore.finished",
    "restore.swap_begun",
    "restore.swapped",
)
"""Every point there is, in the order in which work passes them."""

_armed: dict[str, str] = {}


def arm(text: str) -> None:
    """Arm the points of a ``POINT=ACTION`` list. Actions: ``kill`` (SIGKILL ourselves), ``hang``, ``fail``.

    Raises:
        ValueError: an unknown point or action.
    """
    for item in filter(None, text.split(",")):
        point_name, _, action = item.partition("=")
        if point_name not in POINTS or action not in {"kill", "hang", "fail"}:
            message = f"no such fault: {item!r}"
            raise ValueError(message)
        _armed[point_name] = action


def point(name: str) -> None:
    """Pass a named point."""
    action = _armed.get(name)
    if action is None:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while action == "hang":
        time.sleep(60)
    raise VyaError(f"fault injected at {name}", code="internal")
