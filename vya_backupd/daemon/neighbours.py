"""Folders above ours in which everybody may rename what is there: said at the start, since it is not for us to mend.

Some volumes are made so, and in a container nobody else may be there to use it.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable
from pathlib import Path

import structlog

_log = structlog.get_logger("vya.lifecycle")


def warn_of_open_folders(paths: Iterable[Path]) -> None:
    """Log each folder above these paths that lets everybody exchange what is in it."""
    above = dict.fromkeys(folder for path in paths for folder in path.absolute().parents)
    for folder in above:
        with contextlib.suppress(OSError):
            mode = folder.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                _log.warning("folder.open_to_all", folder=str(folder), hint=f"chmod o-w {folder}")
