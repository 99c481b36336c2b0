"""Answers that go on: one JSON object a line, as things happen, with a heartbeat when nothing does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator

from aiohttp import web

from vya_backupd.api.service import Record

HEARTBEAT_SECONDS = 5.0
"""Longest silence of a watch."""

WRITE_SECONDS = 60.0
"""How long a watcher may leave its socket full before it is let go."""

PAUSE_SECONDS = 600.0
"""The same for somebody who is sent a file: a person may look at it page by page."""


async def with_heartbeats(lines: AsyncIterator[Record]) -> AsyncGenerator[Record, None]:
    """The same lines, and a heartbeat whenever none came for ``HEARTBEAT_SECONDS``, but never as the first."""
    waiting: asyncio.Future[Record] | None = None
    begun = False
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(lines))
            done, _ = await asyncio.wait({waiting}, timeout=HEARTBEAT_SECONDS if begun else None)
            if not done:
                yield {"type": "heartbeat"}
                continue
            try:
                line = waiting.result()
            except StopAsyncIteration:
                return
            waiting, begun = None, True
            yield line
    finally:
        if waiting is not None and not waiting.done():
            waiting.cancel()
            await asyncio.wait({waiting})
        close = getattr(lines, "aclose", None)
        if close is not None:
            await close()


async def write_piece(response: web.StreamResponse, piece: bytes) -> None:
    """Send bytes, waiting as long as a reader may pause. Raises ConnectionError when the other side has gone."""
    try:
        async with asyncio.timeout(PAUSE_SECONDS):
            await response.write(piece)
    except TimeoutError:
        raise ConnectionResetError("the reader does not read") from None


async def write_line(response: web.StreamResponse, line: Record) -> None:
    """Send one line. Raises ConnectionError when the other side has gone, or does not read."""
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            await response.write(json.dumps(line, ensure_ascii=False, default=str).encode() + b"\n")
    except TimeoutError:
        raise ConnectionResetError("the watcher does not read") from None
