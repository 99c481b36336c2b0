"""What to restore or verify: from a request to files and, where they are ours, their manifests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from vya_backupd.dumpfile.reader import describe
from vya_backupd.dumpfile.segment import SMALLEST_HEADER, looks_labelled
from vya_backupd.engines.foreign_kinds import HEAD, strange_file, strange_folder
from vya_backupd.errors import IntegrityError, NotFoundError, VyaError
from vya_backupd.model.backup import GLOBALS_NAME, BackupFacts, BackupType, Manifest, StoredBackup
from vya_backupd.operations.requests import RestoreRequest, parse_moment
from vya_backupd.operations.site import Site, nearest
from vya_backupd.pipeline.files import open_source, read_companion
from vya_backupd.pipeline.foreign import foreign_head

_LARGEST_CHECKSUM_FILE = 1 << 16


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read. ``stored`` when it is in our store, ``manifest`` when it has one, neither for foreign files.

    ``head`` is the beginning of a foreign file's text.
    """

    path: Path
    stored: StoredBackup | None = None
    manifest: Manifest | None = None
    head: bytes = b""

    @property
    def facts(self) -> BackupFacts | None:
        """What is known of the database it came from."""
        return self.manifest.facts if self.manifest else None

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self.manifest.size_bytes if self.manifest else self.path.stat().st_size


async def source_of(site: Site, stored: StoredBackup) -> Source:
    """A backup of the store, with its whole manifest."""
    manifest = await asyncio.to_thread(site.store.read_manifest, stored.path)
    return Source(site.store.absolute(stored.path), StoredBackup(manifest, stored.path), manifest)


async def source_of_file(site: Site, path: Path) -> Source:
    """A file by its path: of our store, one of our files elsewhere, or a foreign one.

    Raises:
        NotFoundError: ``file_not_found``.
        IntegrityError: it is one of ours without its manifest, and damaged; or no plain dump (``not_a_dump``).
    """
    try:
        resolved = await asyncio.to_thread(path.resolve, strict=True)
        is_file = resolved.is_file()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"{path}: {reason}", code="file_not_found", hint="Check the path and its mode.") from None
    if not is_file:
        await asyncio.to_thread(_refuse_folder, path, resolved)
        raise NotFoundError(f"{path} is not a regular file", code="file_not_found", hint="Name the backup file itself.")
    if resolved.is_relative_to(site.store.base_path.resolve()):
        relative = resolved.relative_to(site.store.base_path.resolve()).as_posix()
        with contextlib.suppress(NotFoundError):
            manifest = await asyncio.to_thread(site.store.read_manifest, relative)
            return Source(resolved, StoredBackup(manifest, relative), manifest)
    beside = resolved.with_name(resolved.name + ".metadata.json")
    if beside.exists():
        return Source(resolved, None, await asyncio.to_thread(site.decode_manifest, beside))
    return await asyncio.to_thread(_alone, resolved)


def _refuse_folder(path: Path, resolved: Path) -> None:
    names: set[str] = set()
    with contextlib.suppress(OSError):
        names = {each.name for each in resolved.iterdir()}
    if (found := strange_folder(names)) is not None:
        raise IntegrityError(f"{path} is {found.what}", code="not_a_dump", hint=found.way)


def _alone(path: Path) -> Source:
    """A file without a manifest beside it: one of ours, or a foreign one."""
    if (manifest := _manifest_of_labels(path)) is not None:
        return Source(path, None, manifest)
    with open_source(path) as source:
        head = foreign_head(source, HEAD)
    if (found := strange_file(head)) is not None:
        raise IntegrityError(f"{path} is {found.what}", code="not_a_dump", hint=found.way)
    return Source(path, head=head)


def _manifest_of_labels(path: Path) -> Manifest | None:
    """What one of our files says of itself when it lies alone; None for a file of others.

    The digest is that of the checksum file beside it, where there is one; without, only the file's own digests count.
    """
    with open_source(path) as source:
        if not looks_labelled(source.read_at(0, SMALLEST_HEADER)):
            return None
        try:
            found = describe(source.read_at, source.size, path.name, "")
        except IntegrityError as error:
            error.message = f"{path}: {error.message}"
            raise
    beside = path.with_name(f"{path.name}.{found.checksum_algorithm}")
    if not beside.exists():
        return found
    said = read_companion(beside, _LARGEST_CHECKSUM_FILE).decode("utf-8", "replace").split()
    return replace(found, checksum=said[0] if said else "")


async def sources_of(site: Site, request: RestoreRequest) -> list[Source]:
    """The files that a request means, globals first.

    Raises:
        NotFoundError: there is none.
    """
    if request.file is not None:
        return [await source_of_file(site, Path(request.file))]
    if request.backup_id is not None:
        return [await source_of(site, await backup_by_id(site, request.backup_id))]
    before = moment_of(site, request)
    chosen: list[StoredBackup] = []
    if request.all:
        chosen = await whole_instance(site, str(request.instance), before, globals_too=request.globals)
    else:
        if request.globals:
            chosen.append(await newest(site, str(request.instance), GLOBALS_NAME, before))
        if request.database:
            chosen.append(await newest(site, str(request.instance), request.database, before))
    return [await source_of(site, stored) for stored in chosen]


async def backup_by_id(site: Site, backup_id: str) -> StoredBackup:
    """The backup of this id. Raises NotFoundError ``unknown_backup``."""
    stored = await site.catalog.backups.get(backup_id)
    if stored is None:
        raise NotFoundError(
            f"no backup has the id {backup_id!r}", code="unknown_backup", hint="See 'vyactl backups list'."
        )
    return stored


def moment_of(site: Site, request: RestoreRequest) -> datetime | None:
    """The latest snapshot that the request allows; None: any."""
    if request.datetime is None:
        return None
    return parse_moment(request.datetime, ZoneInfo(site.config.scheduling.timezone))


async def newest(site: Site, instance: str, database: str, before: datetime | None) -> StoredBackup:
    """The newest backup of a database taken at or before a time.

    Raises:
        NotFoundError: ``unknown_backup`` when there is none at all, ``no_backup_before`` naming the earliest there is.
    """
    found = await site.catalog.backups.latest(instance, database, before)
    if found is not None:
        return found
    earliest = await site.catalog.backups.earliest(instance, database)
    if earliest is None or before is None:
        known = {each.manifest.facts.database for each in await site.catalog.backups.newest_each(instance)}
        if not known:
            site.instance(instance)
        raise NotFoundError(
            f"there is no backup of {database!r} on {instance}",
            code="unknown_backup",
            hint=f"{nearest(database, known) if known else 'It has no backups at all.'} See 'vyactl restore --list'.",
            instance=instance,
            database=database,
        )
    raise NotFoundError(
        f"no backup of {database!r} on {instance} was taken at or before {before.isoformat()};"
        f" the earliest is of {earliest.manifest.facts.taken_at.isoformat()}",
        code="no_backup_before",
        hint="Choose a later time, or see 'vyactl restore --list'.",
        instance=instance,
        database=database,
    )


async def whole_instance(
    site: Site, instance: str, before: datetime | None, *, globals_too: bool
) -> list[StoredBackup]:
    """The newest backup of every database of an instance, globals first. NotFoundError when there is none."""
    newest_of: dict[str, StoredBackup] = {}
    for stored in await site.catalog.backups.find(instance, before=before):
        newest_of.setdefault(stored.manifest.facts.database, stored)
    chosen = sorted(newest_of.values(), key=lambda each: each.manifest.facts.database)
    users = [each for each in chosen if each.manifest.facts.type is BackupType.GLOBALS]
    databases = [each for each in chosen if each.manifest.facts.type is BackupType.FULL]
    if globals_too and not users:
        await newest(site, instance, GLOBALS_NAME, before)
    if not databases:
        site.instance(instance)
        when = f" at or before {before.isoformat()}" if before else ""
        raise NotFoundError(f"there is no backup of any database of {instance}{when}", instance=instance)
    return (users if globals_too else []) + databases


@contextlib.contextmanager
def in_use(site: Site, source: Source) -> Iterator[None]:
    """While this lasts, nobody deletes the backup."""
    if source.stored is None:
        yield
        return
    site.in_use.append(source.stored.id)
    try:
        yield
    finally:
        site.in_use.remove(source.stored.id)


def describe_place(error: VyaError, source: Source) -> VyaError:
    """Name the file in an error of reading it."""
    if str(source.path) not in error.message:
        error.message = f"{source.path}: {error.message}"
    return error
