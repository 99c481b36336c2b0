r"""What keeps a dump from giving commands to psql itself.

psql obeys more than SQL: ``\!`` starts programs, ``\copy`` and ``\i`` read files, ``\connect`` goes elsewhere, all as
the user that runs psql. So each of our sessions begins in psql's restricted mode, with a key that no dump can know: from
then on it refuses every command of its own (PostgreSQL documentation, psql, "\restrict"). The dump's own ``\restrict``,
which would be refused, too, is taken out on the way.

A psql that is older than that mode gets what lies in our own store, and nothing that somebody brings.
"""

from __future__ import annotations

import re
import secrets

from vya_backupd.engines.tools import Tool
from vya_backupd.errors import ToolError
from vya_backupd.model.backup import Section

_SINCE = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}
"""The first minor release of each major one that knows the mode; from 18 on all do."""
_LINES = re.compile(rb"^\\(?:un)?restrict [A-Za-z0-9]+\r?\n", re.MULTILINE)
_OPENING = re.compile(rb"(?:[ \t\r]*\n|--[^\n]*\n)*\\restrict ([A-Za-z0-9]{1,200})\r?\n")
_HEAD = 4096
"""Bytes within which a dump tool has said its ``\\restrict``: a few comments stand before it."""
_LONGEST = 256
"""Bytes of a line that could be the closing one."""
_OUTER = frozenset({Section.HEADER, Section.FOOTER})


def guards(client: Tool) -> bool:
    """Whether this psql knows the restricted mode."""
    major, minor = (*client.version, 0)[:2]
    return major >= 18 or minor >= _SINCE.get(major, 1 << 30)


def opening(client: Tool) -> tuple[str, ...]:
    """The arguments that begin a session in restricted mode; none where psql does not know it."""
    return (f"--command=\\restrict {secrets.token_hex(16)}",) if guards(client) else ()


def refuse_unguarded(client: Tool) -> None:
    """Refuse to give this psql a text that others wrote. Raises ToolError ``tool_missing``."""
    if guards(client):
        return
    wanted = ", ".join(f"{major}.{minor}" for major, minor in _SINCE.items())
    raise ToolError(
        f"{client.label} obeys commands that a dump holds for psql itself, and this file is not of our store",
        code="tool_missing",
        hint=f"Install a psql that has \\restrict: 18, or at least {wanted}.",
    )


def unrestricted(text: bytes) -> bytes:
    r"""The header or footer of a dump of ours without its ``\restrict`` and ``\unrestrict``."""
    return _LINES.sub(b"", text)


class RestrictLines:
    """The same for a dump that passes in pieces, labelled or not (``pipeline.restore.Fitting``).

    In a dump without labels only the one at its very beginning is taken out, and what closes exactly this one. Whatever
    else there is, psql refuses.
    """

    def __init__(self) -> None:
        self._held = b""
        self._begun = False
        self._closing: re.Pattern[bytes] | None = None
        self._line_begins = True

    def feed(self, text: bytes, section: Section | None = None) -> bytes:
        """What can be passed on now."""
        if section is not None:
            return unrestricted(text) if section in _OUTER else text
        self._held += text
        if not self._begun and len(self._held) < _HEAD:
            return b""
        return self._passed()

    def finish(self) -> bytes:
        """The rest."""
        text = self._passed()
        held, self._held = self._held, b""
        return text + self._open(held)

    def _passed(self) -> bytes:
        self._begin()
        text, self._held = self._held, b""
        if self._closing is None:
            return text
        last = text.rfind(b"\n") + 1
        if text.startswith(b"\\", last) and len(text) - last < _LONGEST and (last or self._line_begins):
            text, self._held = text[:last], text[last:]
        return self._open(text)

    def _open(self, text: bytes) -> bytes:
        """The text without the line that closes. It may begin in the midst of a line, which is then none of these."""
        if self._closing is None or not text:
            return text
        before = b"" if self._line_begins else b"."
        self._line_begins = text.endswith(b"\n")
        return self._closing.sub(b"", before + text)[len(before) :]

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        if found := _OPENING.match(self._held, 0, _HEAD):
            self._held = self._held[: found.start(1) - len(b"\\restrict ")] + self._held[found.end() :]
            self._closing = re.compile(rb"^\\unrestrict %s(?:\r?\n|\Z)" % found[1], re.MULTILINE)
