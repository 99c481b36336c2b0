"""Events of MySQL and MariaDB, kept from running by one word in the text that creates them.

ALTER EVENT would come too late for an event that is due, and makes whoever runs it the event's owner; so the state is
changed where it stands, in the CREATE EVENT that the server itself composed.
"""

from __future__ import annotations

import re

from vya_backupd.model.backup import Section

_IDENT = r"`[^`]*(?:``[^`]*)*`"
_HEAD = (
    r"/\*!50106 CREATE\*/ (?:/\*!50117 DEFINER=(?:" + _IDENT + r"@)?" + _IDENT + r"\*/ )?/\*!50106 EVENT "
    r"(?P<name>" + _IDENT + r") "
)
_STATE = r"(?P<schedule>ON SCHEDULE (?:[^'\n]|'[^'\n]*')*? ON COMPLETION (?:NOT )?PRESERVE )(?P<state>ENABLE|DISABLE)\b"
_BLOCK = re.compile(
    (
        r"(?P<before>^DELIMITER (?P<end>;{2,})\n(?:/\*!\d+ SET [^\n]*\*/ (?P=end)\n)*"
        + _HEAD
        + _STATE
        + r")(?P<after>.*?(?P=end)\n)"
    ).encode("ascii"),
    re.MULTILINE | re.DOTALL,
)
_CREATE = re.compile(r"(?P<before>CREATE (?:DEFINER=\S.*? )?EVENT " + _IDENT + " " + _STATE + ")", re.DOTALL)
_HEADING = b"-- Dumping events for database"


class EventSilencer:
    """Rewrites the segments of one dump, in order, so that no event runs; ``names`` are those that would have."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._object: int | None = None

    def __call__(self, section: Section, number: int, text: bytes) -> bytes:
        """The text of a segment of the object with this number, with every event disabled.

        The tool ends a CREATE EVENT by a delimiter that its body does not contain: a body is passed over as a whole.
        """
        if section is Section.POST and text[:200].lstrip(b"-\n ").startswith(_HEADING.lstrip(b"- ")):
            self._object = number
        return text if number != self._object else self.silence(text)

    def silence(self, text: bytes) -> bytes:
        """Whole statements, with every event in them disabled."""
        return _BLOCK.sub(self._disabled, text)

    def _disabled(self, found: re.Match[bytes]) -> bytes:
        if found["state"] == b"ENABLE":
            name = found["name"][1:-1].replace(b"``", b"`")
            self.names.append(name.decode("utf-8", "backslashreplace"))
        return found["before"].removesuffix(found["state"]) + b"DISABLE" + found["after"]


def enabled(create: str) -> str:
    """The server's own CREATE EVENT, for an event that runs."""
    found = _CREATE.match(create)
    if found is None:
        return create
    return found["before"].removesuffix(found["state"]) + "ENABLE" + create[found.end() :]
