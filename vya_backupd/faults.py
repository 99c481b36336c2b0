"""Named points at which a test may end or hold the process, to prove what a crash there leaves behind; and its clock.

A point costs one dictionary look-up, and nothing is armed unless the environment of the daemon says so:
``VYA_FAULTS=store.placed=kill,backup.dumped=hang``. Whoever can set the daemon's environment owns the daemon anyway.
``VYA_CLOCK_OFFSET_FILE`` names a file that holds seconds by which the wall clock is to be off, read at each look.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from vya_backupd.errors import VyaError

POINTS = (
    "start.locked",
    "start.opened",
    "start.recovered",
    "start.settled",
    "catalog.writing",
    "catalog.written",
    "backup.probed",
    "backup.held",
    "backup.session",
    "backup.globals",
    "backup.dumping",
    "backup.dumped",
    "store.synced",
    "store.placed",
    "store.checksum",
    "store.manifest",
    "backup.recorded",
    "prune.judged",
    "prune.noted",
    "store.tombstone",
    "store.emptied",
    "store.deleted",
    "prune.deleted",
    "restore.verified",
    "restore.lending",
    "restore.created",
    "restore.lane",
    "restore.fed",
    "restore.finished",
    "restore.swap_begun",
    "restore.swap_step",
    "restore.swapped",
    "verify.read",
    "verify.proven",
    "hold.written",
    "rebuild.read",
    "rebuild.entered",
)
"""Every point there is, in the order in which work passes them."""

_ACTIONS = {"kill", "hang", "fail", "note"}
_armed: dict[str, str] = {}
_passed: Counter[str] = Counter()
_sources: list[Path] = []
_last_read = ""


def arm(text: str) -> None:
    """Arm the points of a ``POINT=ACTION`` list.

    Actions: ``kill`` (SIGKILL ourselves), ``hang``, ``fail``, ``note`` (nothing else; with ``@FILE`` both of these append
    the point's name to ``FILE.passed``). ``ACTION@N`` acts when the point is passed for the N-th time only, for points that work passes
    repeatedly. ``@FILE`` takes the list from a file that is read again at each point, so that a test changes it under
    way; with other text in it, passes are counted anew. A point that hangs writes its name to ``FILE.hangs``, and goes
    on when the file no longer names it.

    Raises:
        ValueError: an unknown point or action.
    """
    _sources[:] = [Path(text[1:])] if text.startswith("@") else []
    _armed.clear()
    _armed.update({} if _sources else _parsed(text))


def _parsed(text: str) -> dict[str, str]:
    found = {}
    for item in filter(None, text.strip().split(",")):
        point_name, _, action = item.partition("=")
        kind, _, turn = action.partition("@")
        if point_name not in POINTS or kind not in _ACTIONS or (turn and not turn.isdecimal()):
            message = f"no such fault: {item!r}"
            raise ValueError(message)
        found[point_name] = action
    return found


def _wanted(name: str) -> str | None:
    for source in _sources:
        with contextlib.suppress(FileNotFoundError):
            return _read(source).get(name)
    return _armed.get(name)


def _read(source: Path) -> dict[str, str]:
    global _last_read  # noqa: PLW0603 - what is armed is one thing for the whole process
    text = source.read_text()
    if text != _last_read:
        _last_read = text
        _passed.clear()
    return _parsed(text)


def _action(name: str) -> str | None:
    action, _, turn = (_wanted(name) or "").partition("@")
    return action if not turn or int(turn) == _passed[name] else None


def point(name: str) -> None:
    """Pass a named point. Passes are counted while it is armed."""
    _passed[name] += _wanted(name) is not None
    action = _action(name)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    for source in _sources:
        if action == "hang":
            source.with_name(f"{source.name}.hangs").write_text(name)
        if action in {"fail", "note"}:
            with source.with_name(f"{source.name}.passed").open("a") as passed:
                passed.write(f"{name}\n")
    while action == "hang":
        time.sleep(0.05)
        action = _action(name)
    if action == "fail":
        raise VyaError(f"fault injected at {name}", code="internal")


def clock_offset() -> timedelta:
    """By how much the wall clock is to be off: nothing, unless a test says otherwise. Without a file: nothing yet."""
    source = os.environ.get("VYA_CLOCK_OFFSET_FILE")
    if not source:
        return timedelta(0)
    try:
        return timedelta(seconds=float(Path(source).read_text()))
    except FileNotFoundError:
        return timedelta(0)
