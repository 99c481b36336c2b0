"""Two things that the disk has to be told apart: all of the bytes, and the name. Whoever keeps a file for good needs both."""

from __future__ import annotations

import os
from pathlib import Path


def write_all(fd: int, content: bytes) -> None:
    """Write all of it, however many calls that takes. OSError as ``os.write``."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(folder: Path) -> None:
    """Have what came and went in a folder on disk: a file that is synced may still lose its name. OSError as ``fsync``."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
