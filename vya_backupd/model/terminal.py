"""JSON that may be looked at on a terminal.

JSON escapes the oldest control characters and nothing else: those of ISO 6429 beyond them, and the marks that turn text
around, would be obeyed by whoever shows a document, and taken for line breaks by whoever cuts it into lines.
"""

from __future__ import annotations

import re

_MOVING = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def escaped(document: str) -> str:
    """The same document with these characters as escapes: in JSON they stand only within strings."""
    return document if document.isascii() and "\x7f" not in document else _MOVING.sub(_as_json, document)


def _as_json(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
