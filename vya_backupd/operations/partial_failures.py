"""What a server says of a single table that it does not take, and what to do about it."""

from __future__ import annotations

from vya_backupd.errors import VyaError

_NO_DEPENDENCIES = (
    "A table brings no types, functions, schemas and roles along: make what is named first, or restore the whole"
    " database beside with --target-database."
)
_WAYS_OUT = (
    (
        "violates foreign key constraint",
        "The rows refer to rows that are not there now: --no-indexes leaves foreign keys out.",
    ),
    (
        "foreign key constraint fails",
        "The rows refer to rows that are not there now: --no-indexes leaves foreign keys out.",
    ),
    (
        "depend on it",
        "Restore it beside with --target-table NAME, or drop what depends on it first.",
    ),
    (
        "does not exist",
        _NO_DEPENDENCIES,
    ),
)


def explain(error: VyaError) -> None:
    """Give the server's words a hint that fits single tables."""
    for words, hint in _WAYS_OUT:
        if words in error.message:
            error.hint = hint
            return
