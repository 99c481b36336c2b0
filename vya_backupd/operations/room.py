"""Whether there is room for a backup, before it begins."""

from __future__ import annotations

from vya_backupd.errors import StorageError
from vya_backupd.model.instance import DatabaseFacts
from vya_backupd.operations.site import Site

_UNKNOWN_SIZE_SHARE = 0.5
"""Of the server's own figure, the room wanted for a first backup; it holds indexes and no compression."""


def check_room(site: Site, last_size: int | None, before: DatabaseFacts | None) -> int:
    """Bytes wanted: the last size with a margin, or a guess from the server's own figure.

    Raises:
        StorageError: ``insufficient_space``: less is free.
    """
    factor = site.config.backup.free_space_factor
    if last_size is not None:
        wanted = int(last_size * factor)
    else:
        wanted = int((before.size_bytes if before else 0) * _UNKNOWN_SIZE_SHARE)
    free = site.store.free_bytes()
    if factor and free < wanted:
        raise StorageError(
            f"{free:,} bytes are free below {site.store.base_path}, about {wanted:,} will be needed",
            code="insufficient_space",
            hint="Free space, shorten retention, or lower backup.free_space_factor.",
        )
    return wanted
