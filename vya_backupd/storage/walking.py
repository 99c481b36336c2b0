"""Reading the tree: which backups, orphans, damaged manifests and tombstones lie below a base path."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vya_backupd.errors import IntegrityError, VyaError
from vya_backupd.model.backup import Manifest, StoredBackup
from vya_backupd.storage import tree
from vya_backupd.storage.base import (
    MANIFEST_SUFFIX,
    TOMBSTONE_SUFFIX,
    Damaged,
    Entry,
    ManifestCodec,
    Name,
    Orphan,
    Tombstone,
)
from vya_backupd.storage.failures import gone, reporting

_NOT_OURS = frozenset({"lost+found", ".snapshot", ".snapshots", ".zfs"})
"""Folders that file systems put at their root. Snapshots would show every backup again."""
_LARGEST = 1 << 28
"""Bytes of a manifest: nobody shall fill our memory with zeros that take no room on the disk."""
_PARTS = ("", MANIFEST_SUFFIX, TOMBSTONE_SUFFIX)


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk needs to know.

    ``underway``: data files that may lack their manifest because it is being written. ``known``: data files whose
    manifests need not be read; they are not mentioned. ``below``: the only folder to look into, relative to the base.
    """

    base: Path
    data_suffix: str | tuple[str, ...]
    codec: ManifestCodec
    underway: AbstractSet[str] = frozenset()
    known: AbstractSet[str] = frozenset()
    below: str = ""


def entries(walk: Walk) -> Iterator[Entry]:
    """Everything below the base, folder by folder in the order of paths. Other people's files are not mentioned."""
    for folder, where, files in _folders(walk.base, walk.below):
        with reporting("read", walk.base / where):
            found = list(_judge(walk, folder, where, files))
        yield from found


def names(walk: Walk) -> Iterator[Name]:
    """The names alone of what ``entries`` would give, in the same order: no file is opened."""
    for _, where, files in _folders(walk.base, walk.below):
        prefix = f"{where}/" if where.parts else ""
        for name, is_whole in _sorted_out(walk, files):
            yield Name(prefix + name, is_whole)


def entry_at(walk: Walk, path: str) -> Entry | None:
    """What is at the path of a data file now; None when nothing is, or it is being published."""
    *folders, name = tree.parts_of(path)
    try:
        with reporting("read", walk.base / path), tree.directory(walk.base, tuple(folders)) as folder:
            files = {each for each in (name + suffix for suffix in _PARTS) if tree.exists(folder, each)}
            return next(_judge(walk, folder, PurePosixPath(*folders), files), None)
    except FileNotFoundError:
        return None


def read_manifest(folder: int, name: str, codec: ManifestCodec, shown: str) -> Manifest:
    """The manifest of the data file ``name`` in an open folder; ``shown`` is how messages call the file.

    Raises:
        NotFoundError: there is no manifest.
        IntegrityError: it cannot be decoded, or speaks of another file.
    """
    try:
        content = _read(folder, name + MANIFEST_SUFFIX)
    except FileNotFoundError as error:
        raise gone(shown) from error
    manifest = _decode(content, codec, shown)
    if manifest.filename != name:
        raise _damaged(shown, f"it is the manifest of {manifest.filename}")
    return manifest


def open_regular(folder: int, name: str) -> int:
    """A read-only descriptor of a file, never of a link, a pipe or a folder. OSError as usual."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(name)
    return fd


def _folders(base: Path, below: str = "") -> Iterator[tuple[int, PurePosixPath, set[str]]]:
    """Every folder, as a descriptor that is open until the next is asked for, its path, and its files' names.

    Symbolic links are not followed. A folder that goes away meanwhile is empty; one that cannot be read is an error,
    since a list that is silently too short would make somebody delete what is still needed.
    """
    start = PurePosixPath(below)
    with contextlib.ExitStack() as stack, reporting("read", base / start):
        try:
            root = stack.enter_context(tree.directory(base, start.parts))
        except FileNotFoundError:
            if start.parts:
                return
            raise
        yield from _below(root, base, start)


def _below(folder: int, base: Path, where: PurePosixPath) -> Iterator[tuple[int, PurePosixPath, set[str]]]:
    with reporting("read", base / where):
        files, inner = _scan(folder)
    yield folder, where, files
    for name in sorted(inner):
        if name in _NOT_OURS and not where.parts:
            continue
        with reporting("read", base / where / name):
            try:
                inside = tree.step_into(folder, name)
            except FileNotFoundError:
                continue
        try:
            yield from _below(inside, base, where / name)
        finally:
            os.close(inside)


def _scan(folder: int) -> tuple[set[str], list[str]]:
    files: set[str] = set()
    folders: list[str] = []
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_file(follow_symlinks=False):
                files.add(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
    return files, folders


def _sorted_out(walk: Walk, files: set[str]) -> list[tuple[str, bool]]:
    """The data files of a folder, in order, and whether each has itself and a manifest, and no tombstone."""
    found: dict[str, bool] = {}
    for name in files:
        if name.endswith(MANIFEST_SUFFIX):
            data = name.removesuffix(MANIFEST_SUFFIX)
            found[data] = data in files and data + TOMBSTONE_SUFFIX not in files
        elif name.endswith(TOMBSTONE_SUFFIX):
            found[name.removesuffix(TOMBSTONE_SUFFIX)] = False
        elif name.endswith(walk.data_suffix):
            found.setdefault(name, False)
    return sorted(found.items())


def _judge(walk: Walk, folder: int, where: PurePosixPath, files: set[str]) -> Iterator[Entry]:
    for name, is_whole in _sorted_out(walk, files):
        path = str(where / name)
        if name + TOMBSTONE_SUFFIX in files:
            yield Tombstone(path)
        elif is_whole and path in walk.known:
            continue
        elif name + MANIFEST_SUFFIX in files:
            yield from _described(folder, path, name in files, walk.codec)
        elif path not in walk.underway:
            yield from _bare(folder, path, walk.codec)


def _bare(folder: int, path: str, codec: ManifestCodec) -> Iterator[Entry]:
    name = PurePosixPath(path).name
    with contextlib.suppress(FileNotFoundError):
        beside = os.stat(name + MANIFEST_SUFFIX, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(beside.st_mode):  # published between the scan and now
            yield from _described(folder, path, data_exists=True, codec=codec)
            return
    with contextlib.suppress(FileNotFoundError):
        yield Orphan(path, os.stat(name, dir_fd=folder, follow_symlinks=False).st_size)


def _described(folder: int, path: str, data_exists: bool, codec: ManifestCodec) -> Iterator[Entry]:
    name = PurePosixPath(path).name
    try:
        manifest = read_manifest(folder, name, codec, path)
        if not data_exists:
            raise _damaged(path, "its data file is gone")
    except IntegrityError as error:
        yield Damaged(path, error, data_exists)
    except VyaError:
        return  # removed between the scan and now
    else:
        yield StoredBackup(manifest, path)


def _read(folder: int, name: str) -> bytes:
    fd = open_regular(folder, name)
    try:
        if os.fstat(fd).st_size > _LARGEST:
            raise _damaged(name, "nothing of ours is so large")
        pieces = []
        while piece := os.read(fd, 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def _decode(content: bytes, codec: ManifestCodec, shown: str) -> Manifest:
    try:
        return codec.decode(content)
    except IntegrityError as error:
        raise _damaged(shown, error.message) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(shown, f"{type(error).__name__}: {error}") from error


def _damaged(shown: str, reason: str) -> IntegrityError:
    return IntegrityError(
        f"the manifest of {shown} cannot be used: {reason}",
        code="damaged_manifest",
        hint="`vyactl catalog rebuild` makes a new manifest from the labels in the data file.",
    )
