"""Whether single tables of PostgreSQL are restored when the connection was lost: perhaps at the answer to COMMIT.

A client that loses its server cannot know what the server did. So the server is asked, over another connection.
"""

from __future__ import annotations

import asyncio
import time

from vya_backupd.engines import transaction_postgresql as sql
from vya_backupd.errors import ServerError, VyaError
from vya_backupd.operations.site import Site
from vya_backupd.operations.targets import Target

PATIENCE = 60.0
"""Seconds in which the server must come back and say how it ended."""
_GRACE = 20.0
"""Seconds from which on a session that still is at it is ended: its transaction comes to its end either way."""
_PAUSE = 1.0


async def refuse_unless_committed(
    site: Site, target: Target, database: str, said: str, error: VyaError, patience: float = PATIENCE
) -> str:
    """Find out what became of a restore whose client failed with ``error``, having said ``said``.

    Returns a note for the operator when everything is there all the same.

    Raises:
        VyaError: ``error``: nothing of it is there. ServerError ``server_lost``: nobody can tell.
    """
    number = sql.number_said(said)
    if number is None:
        raise error
    ended = await _asked(site, target, database, number, patience)
    if ended == sql.ABORTED:
        raise error
    if ended != sql.COMMITTED:
        raise ServerError(
            f"{error.message}; that was at the very end, and the server does not say whether the tables are restored",
            code="server_lost",
            hint=f"Look at the tables, or ask the server in {database!r}: {sql.status_sql(number)};",
        ).at(*target.where) from error
    return f"the connection was lost at the very end; the server says that all was done ({error.message})"


async def _asked(site: Site, target: Target, database: str, number: int, patience: float) -> str | None:
    """How the transaction ended; None where the server does not say in time."""
    begun = time.monotonic()
    while True:
        waited = time.monotonic() - begun
        try:
            ((state,),) = await site.probe.fetch(target.instance, sql.status_sql(number), database)
            if state in (None, sql.COMMITTED, sql.ABORTED):
                return None if state is None else str(state)
            if waited > _GRACE:
                await site.probe.fetch(target.instance, sql.end_session_sql(number), database)
        except ServerError as error:
            if not error.retryable:
                return None
        if waited > patience:
            return None
        await asyncio.sleep(_PAUSE)
