"""Dumps of mysqldump and mariadb-dump that somebody else made, fitted while they are fed to the client.

They come as a stream without labels. What matters here are whole lines that the tools write themselves: a line break
in a row is escaped by them, so no row can look like one.
"""

from __future__ import annotations

import re

from vya_backupd.engines.mysql_events import EventSilencer
from vya_backupd.model.backup import Section

_PURGED = re.compile(rb"\nSET @@(?:GLOBAL\.GTID_PURGED=[^;]*|SESSION\.SQL_LOG_BIN ?= ?0);(?=\n|\Z)")
"""What a dump says that is to make a replica. Without the first the second would keep all of it from the replicas."""
_OPENERS = ((b"\nDELIMITER ;;", b"\nDELIMITER ;\n"), (b"\nSET @@GLOBAL.GTID_PURGED", b";\n"))
_HELD = 16 << 20
"""Bytes of an unfinished line or statement that are held back before it passes as it is."""


class ForeignText:
    """The stream, piece by piece: without GTID_PURGED, which belongs to a server, and with silent events if wanted.

    What is restored goes into the binary log, unless whoever restores has it otherwise.
    """

    def __init__(self, silencer: EventSilencer | None) -> None:
        self._silencer = silencer
        self._held = b"\n"
        self._fresh = True

    def feed(self, text: bytes, section: Section | None = None) -> bytes:
        """What can be passed on now."""
        del section
        text = self._held + text
        cut = text.rfind(b"\n")
        for opener, closer in _OPENERS:
            begun = text.rfind(opener, 0, cut)
            if begun >= 0 and text.find(closer, begun + len(opener), cut + 1) < 0:
                cut = min(cut, begun)
        if len(text) - cut > _HELD:
            cut = len(text)
        self._held = text[cut:]
        return self._fitted(text[:cut])

    def finish(self) -> bytes:
        """The rest."""
        held, self._held = self._held, b""
        return self._fitted(held)

    def _fitted(self, text: bytes) -> bytes:
        text = _PURGED.sub(b"", text)
        if self._silencer is not None:
            text = self._silencer.silence(text)
        if self._fresh and text:  # the line break in front was ours
            self._fresh = False
            return text[1:]
        return text
