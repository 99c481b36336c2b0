"""Deleting: how a backup ceases to exist, in an order that a crash cannot turn into a lie.

1. *The manifest becomes a tombstone*, by one rename, and the folder is synced: from here on there is no backup.
2. *Data and checksum go*, and the folder is synced.
3. *The tombstone goes*, when there is nothing left that it stands for.

Whoever finds a tombstone goes on with the second step, and never takes the data file beside it for an orphan.
"""

from __future__ import annotations

import contextlib
import os

from vya_backupd.storage import tree
from vya_backupd.storage.base import CHECKSUM_SUFFIXES, MANIFEST_SUFFIX, TOMBSTONE_SUFFIX, Step


def entomb(folder: int, name: str) -> None:
    """Step 1 for the data file ``name`` in an open folder. Without a manifest there is nothing to be done."""
    with contextlib.suppress(FileNotFoundError):
        os.rename(name + MANIFEST_SUFFIX, name + TOMBSTONE_SUFFIX, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)


def is_entombed(folder: int, name: str) -> bool:
    """Whether the deletion of this data file was begun."""
    return tree.exists(folder, name + TOMBSTONE_SUFFIX)


def bury(folder: int, name: str, step: Step) -> None:
    """Steps 2 and 3."""
    for each in (name, *(name + suffix for suffix in CHECKSUM_SUFFIXES)):
        tree.unlink_if_there(folder, each)
    os.fsync(folder)
    step("emptied")
    tree.unlink_if_there(folder, name + TOMBSTONE_SUFFIX)
    os.fsync(folder)
    step("deleted")
