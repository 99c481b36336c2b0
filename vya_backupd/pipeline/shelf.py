"""Packed segments that wait for their place: what a dump ends with, while its data are still coming."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from vya_backupd.dumpfile.codec import Deflated
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.pipeline.files import storage_error

_IN_MEMORY = 8 << 20
"""Compressed bytes; what is more waits in an unnamed file beside the backup's own."""


class Shelf:
    """Keeps segments in order. ``beside`` is the open file that they are for. One thread at a time."""

    def __init__(self, beside: int) -> None:
        folder = Path(f"/proc/self/fd/{beside}").readlink().parent
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(folder))  # noqa: SIM115 -- closed by __exit__
        self._kept: list[tuple[RawSegment, Deflated, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Closing writes what a full disk refused before, and fails again: the first failure is told already.
        with contextlib.suppress(OSError):
            self._file.close()

    def put(self, segment: RawSegment, deflated: Deflated) -> None:
        """Keep one more.

        Raises:
            StorageError: the file system refused.
        """
        try:
            self._file.write(deflated.data)
        except OSError as error:
            raise storage_error(error, "writing the end of the dump aside") from error
        self._kept.append((segment, replace(deflated, data=b""), len(deflated.data)))

    def all(self) -> Iterator[tuple[RawSegment, Deflated]]:
        """Everything, in order.

        Raises:
            StorageError: the file system refused.
        """
        try:
            self._file.seek(0)
            for segment, deflated, size in self._kept:
                yield segment, replace(deflated, data=self._file.read(size))
        except OSError as error:
            raise storage_error(error, "reading the end of the dump again") from error
