"""The contract of a store: what may be asked of a place where backups lie, and what it answers.

A store knows files and manifests as bytes. How a manifest is written down comes in from outside (``ManifestCodec``), so
that the file format and the places where files lie stay strangers.

Etiquette, for every store:

* One process writes. Threads may call any function at any time.
* A backup exists once its manifest is in place, and no sooner; what a crash leaves behind is an ``Orphan`` (the data is
  there, its manifest is not), a ``Tombstone`` (its deletion began), or a leftover that ``prepare`` sweeps.
* A published name is never written over. Paths are relative to the store's root, with ``/``.
* Nothing is deleted that has no tombstone. ``abort`` and ``delete`` may be repeated.
* Functions block, apart from ``new_partial`` and ``publish``; whoever lives in an event loop calls them in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from vya_backupd.errors import VyaError
from vya_backupd.model.backup import Manifest, StoredBackup

MANIFEST_SUFFIX = ".metadata.json"
TOMBSTONE_SUFFIX = ".metadata.json.deleting"
CHECKSUM_SUFFIXES = (".sha256", ".md5")

Step = Callable[[str], None]
"""Called after each named step of publishing (``synced``, ``placed``, ``checksum``, ``manifest``) and of deleting
(``tombstone``, ``emptied``, ``deleted``). What it raises stops the work there."""


@dataclass(frozen=True, slots=True)
class ManifestCodec:
    """How a manifest becomes bytes and comes back, and the line of its checksum file.

    ``decode`` raises IntegrityError (``damaged_manifest``) for bytes that are not a manifest as it was written.
    """

    encode: Callable[[Manifest], bytes]
    decode: Callable[[bytes], Manifest]
    checksum_line: Callable[[Manifest], str]


@dataclass(slots=True)
class Partial:
    """A backup that is being written. ``publish`` and ``abort`` close ``fd`` (then -1); nobody else does."""

    backup_id: str
    path: Path
    fd: int


@dataclass(frozen=True, slots=True)
class Orphan:
    """A data file without a manifest: its publishing was cut short, its manifest was lost, or it is not ours at all."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """A manifest that cannot be read, or that has no data file beside it. ``path`` is of the data file."""

    path: str
    error: VyaError
    data_exists: bool


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A backup whose deletion began and has not ended. ``path`` is of the data file, there or not."""

    path: str


class Name(NamedTuple):
    """A data file by its path. ``is_whole``: the file and a manifest are there; otherwise it wants a look."""

    path: str
    is_whole: bool


Entry = StoredBackup | Orphan | Damaged | Tombstone


class Usage(NamedTuple):
    """Bytes of the file system that holds the store; ``free`` is what an unprivileged writer can have."""

    total: int
    used: int
    free: int


class Store(Protocol):
    """A place for backups. Failures are StorageError (``disk_full``, ``storage_unwritable``, ``storage_failed``)."""

    def prepare(self) -> None:
        """Make the store ready: folders, proof that placing works, partial files of the dead swept.

        What lies in the store is not looked at, so this takes no longer where there is much of it.

        Raises:
            ConfigError: the store's parts cannot work together (``storage_layout``).
        """

    def check(self) -> None:
        """Prove now that a file can be written and placed, and leave no trace of it."""

    def usage(self) -> Usage:
        """How full the store's file system is."""

    def free_bytes(self) -> int:
        """Bytes that can be written before the store is full."""

    async def new_partial(self, backup_id: str) -> Partial:
        """Open an empty file for a backup to come, invisible to everybody else until it is published."""

    async def publish(self, partial: Partial, relative_path: str, manifest: Manifest) -> StoredBackup:
        """Make a complete partial file a backup, under the wanted path or the nearest free one.

        The answer says the path and has the file's name in its manifest. After a failure nothing is visible, and the
        caller aborts the partial.
        """

    def abort(self, partial: Partial) -> None:
        """Throw a partial away. Never fails because it is gone already, or published."""

    def adopt(self, relative_path: str, manifest: Manifest) -> StoredBackup:
        """Give a data file that is in place its checksum file and manifest, whatever these were before."""

    def read_manifest(self, relative_path: str) -> Manifest:
        """The manifest of the data file at this path.

        Raises:
            NotFoundError: there is none.
            IntegrityError: it cannot be read (``damaged_manifest``).
        """

    def rewrite_manifest(self, stored: StoredBackup, manifest: Manifest) -> StoredBackup:
        """Replace a manifest in one step: proof grew, a hold came or went. NotFoundError when the backup is gone."""

    def open_data(self, relative_path: str) -> int:
        """A read-only descriptor of a data file, for the caller to close. NotFoundError when there is none."""

    def list(self, known: AbstractSet[str] = frozenset()) -> Iterator[Entry]:
        """Everything that is there, in the order of paths, but for whole backups whose path is ``known``."""

    def names(self, below: str = "") -> Iterator[Name]:
        """The data files that ``list`` would speak of, in one folder and below it, or in all; nothing is read."""

    def entry_at(self, relative_path: str) -> Entry | None:
        """What ``list`` would say of one data file; None where there is nothing to say."""

    def recognise(self) -> None:
        """Look whether this is still the place that ``prepare`` found; StorageError when it was unmounted or replaced."""

    def holds(self, relative_path: str, size_bytes: int) -> bool:
        """Whether data of this size and a manifest are there; nothing is read."""

    def delete(self, stored: StoredBackup) -> None:
        """Remove a backup; from its first step on, it no longer exists for anybody. Refuses as ``recognise`` does."""

    def discard(self, relative_path: str) -> None:
        """Remove an orphan that turned out to be worthless. A file with a manifest is left alone: BusyError."""

    def finish_tombstones(self) -> tuple[str, ...]:
        """End the deletions that were cut short. Returns the paths of their data files."""

    def finish_tombstone(self, relative_path: str) -> bool:
        """End the deletion of one data file. False where none was begun, or it has ended."""
