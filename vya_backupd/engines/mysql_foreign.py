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
_OPENER = re.compile(rb"\n(?:DELIMITER (?P<end>;{2,})\n|SET @@GLOBAL\.GTID_PURGED)")
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
        cut = _finished(text, cut)
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


def _finished(text: bytes, cut: int) -> int:
    """Where the first statement before ``cut`` begins that is not whole there; ``cut`` when all are.

    Statements between two delimiters of the tool's own belong together. It chooses one that no body contains, so the
    text that ends them is in none of them.
    """
    at = 0
    while (opened := _OPENER.search(text, at, cut + 1)) is not None:
        end = opened["end"]
        closer = b";\n" if end is None else end + b"\nDELIMITER ;\n"
        closed = text.find(closer, opened.end() if end is None else opened.start("end"), cut + 1)
        if closed < 0:
            return opened.start()
        at = closed + len(closer) - 1
    return cut
