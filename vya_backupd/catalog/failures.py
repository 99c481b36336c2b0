"""What a database says that keeps the catalog, as errors that an operator understands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from vya_backupd.errors import StorageError

_TRY_AGAIN = ("database is locked", "database table is locked", "deadlock detected", "could not serialize")
_DAMAGED = ("malformed", "file is not a database", "unsupported file format", "disk image")
_FULL = ("database or disk is full", "no space left", "disk full")
_UNWRITABLE = ("readonly database", "unable to open database", "read-only transaction", "permission denied")


class DamagedCatalogError(StorageError):
    """The catalog's file is not, or no longer, a database."""


@contextmanager
def telling(catalog: str) -> Iterator[None]:
    """Turn the database's errors of the block into StorageErrors about ``catalog``. Errors of ours pass unchanged.

    So do SQLAlchemy's other errors: they are mistakes in our own code.
    """
    try:
        yield
    except (DBAPIError, PoolTimeoutError, sqlite3.Error, OSError) as error:
        raise _meaning(error, catalog) from error


_FAILING = "disk i/o error"
"""What SQLite says, too, where there is no room to map its shared memory."""


def damaged(catalog: str, reason: str) -> DamagedCatalogError:
    """The error for a catalog that cannot be read."""
    return DamagedCatalogError(
        f"the catalog {catalog} is damaged: {reason}",
        hint="Restart the daemon: it moves the file aside and makes a new catalog from the backups' manifests.",
    )


def _meaning(error: Exception, catalog: str) -> StorageError:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    reason = str(cause)
    words = reason.lower()
    if any(each in words for each in _DAMAGED):
        return damaged(catalog, reason)
    message = f"the catalog {catalog} failed: {reason}"
    if any(each in words for each in _TRY_AGAIN):
        return StorageError(message, hint="Another process writes to the catalog: end it, or wait.", retryable=True)
    if any(each in words for each in _FULL):
        return StorageError(message, code="disk_full", hint=f"Free space where {catalog} lies.")
    if any(each in words for each in _UNWRITABLE):
        hint = f"Give the daemon's user write permission on {catalog} and its folder."
        return StorageError(message, code="storage_unwritable", hint=hint)
    if _FAILING in words:
        return StorageError(
            message, hint=f"The disk that holds {catalog} is full, or fails: free space, and see dmesg."
        )
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return StorageError(message, hint="Look at the database that keeps the catalog (catalog.url).", retryable=lost)
