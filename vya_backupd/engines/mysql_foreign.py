"""Dumps of mysqldump and mariadb-dump that somebody else made, fitted while they are fed to the client.

They come as a stream without labels. What is meant for a replica is left out, statement by statement; where events are
to be silent, what matters are whole lines that the tools write themselves: a line break in a row is escaped by them, so
no row can look like one.
"""

from __future__ import annotations

import re

from vya_backupd.engines.beyond import for_a_replica, left_out
from vya_backupd.engines.mysql_definer_text import DefinerText
from vya_backupd.engines.mysql_events import EventSilencer
from vya_backupd.model.backup import Section

_OPENER = re.compile(rb"\nDELIMITER (?P<end>;{2,})\n")
_HELD = 16 << 20
"""Bytes of an unfinished line or statement that are held back before it passes as it is."""


class ForeignText:
    """The stream, piece by piece: without what would lead replication, and with silent events if wanted.

    What is restored goes into the binary log, unless whoever restores has it otherwise.
    """

    def __init__(self, silencer: EventSilencer | None) -> None:
        self._silencer = silencer
        self._statements = DefinerText(None, self._unwanted)
        self._held = b"\n"
        self._fresh = True
        self._left_out: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, for whoever restores."""
        return left_out(self._left_out)

    def feed(self, text: bytes, section: Section | None = None) -> bytes:
        """What can be passed on now."""
        del section
        return self._silenced(self._statements.feed(text))

    def finish(self) -> bytes:
        """The rest."""
        rest = self._silenced(self._statements.finish())
        held, self._held = self._held, b""
        return rest + self._fitted(held)

    def _unwanted(self, statement: bytes) -> bool:
        words = for_a_replica(statement)
        if words:
            self._left_out[words] = None
        return words is not None

    def _silenced(self, text: bytes) -> bytes:
        if self._silencer is None:
            return text
        text = self._held + text
        cut = text.rfind(b"\n")
        cut = _finished(text, cut)
        if len(text) - cut > _HELD:
            cut = len(text)
        self._held = text[cut:]
        return self._fitted(text[:cut])

    def _fitted(self, text: bytes) -> bytes:
        if self._silencer is None:
            return b""
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
        closer = end + b"\nDELIMITER ;\n"
        closed = text.find(closer, opened.start("end"), cut + 1)
        if closed < 0:
            return opened.start()
        at = closed + len(closer) - 1
    return cut
