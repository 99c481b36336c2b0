"""Harm to the files that the daemon lives from: its catalog above all."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_PAGE = 4096
CATALOG_FILES = ("", "-wal", "-shm")


def flip_pages(path: Path) -> None:
    """Fill every page of a database but the first with noise, also what its log has not handed over yet."""
    with closing(sqlite3.connect(path)) as catalog:
        catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(_PAGE)
        file.write(os.urandom(path.stat().st_size - _PAGE))


def cut_in_half(path: Path) -> None:
    """As a copy that was broken off leaves it: without its log, and without its second half."""
    for suffix in CATALOG_FILES[1:]:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.truncate(path, path.stat().st_size // 2)


def remove(path: Path) -> None:
    """The database with its logs."""
    for suffix in CATALOG_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
