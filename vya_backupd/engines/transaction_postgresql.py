"""What became of a transaction of PostgreSQL when its COMMIT was sent and the answer never came.

The session says its transaction's number before it commits, on its client's standard error; whoever comes back asks the
server what became of that number. ``txid_status`` knows it since release 10, for as long as it keeps such states.
"""

from __future__ import annotations

import re

_WORDS = "the number of this restore's transaction is"
_SAID = re.compile(rf"{_WORDS} ([0-9]{{1,20}})$", re.MULTILINE)
COMMITTED, ABORTED = "committed", "aborted"
SAY_NUMBER = (
    "SET LOCAL client_min_messages = notice;\n"
    f"DO $vya$ BEGIN RAISE NOTICE '{_WORDS.replace(chr(39), chr(39) * 2)} %', pg_catalog.txid_current(); END $vya$;\n"
).encode()
"""To stand right before COMMIT: a notice, which servers do not write into their logs."""


def number_said(stderr: str) -> int | None:
    """The transaction's number; None where the session did not come so far. The last one is ours: a dump says anything."""
    found = _SAID.findall(stderr)
    return int(found[-1]) if found else None


def status_sql(number: int) -> str:
    """``committed``, ``aborted``, ``in progress``, or NULL where the server no longer knows."""
    return f"SELECT pg_catalog.txid_status({number:d})"


def end_session_sql(number: int) -> str:
    """End the session that the transaction belongs to: nobody is left to whom it could answer."""
    return (
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"  # noqa: S608 - a number
        f" WHERE backend_xid::text = '{number % (1 << 32):d}'"
    )
