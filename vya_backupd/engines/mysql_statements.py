"""Cuts SQL of MySQL and MariaDB into statements; for small texts that our own queries made, not for dumps."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PIECE = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`|--[ \t][^\n]*\n?|--\n|;|[^'`;-]+|.", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`", re.DOTALL)
_BACKTICKED = r"`(?:[^`]|``)*`"
_ROLE = rf"{_BACKTICKED}(?:@{_BACKTICKED})?"
_DEFAULT_ROLE = re.compile(rf" DEFAULT ROLE {_ROLE}(?:\s*,\s*{_ROLE})*")


def statements(text: str) -> Iterator[str]:
    """Statements without semicolon and without comments between them."""
    parts: list[str] = []
    for found in _PIECE.finditer(text):
        piece = found.group()
        if piece == ";":
            if statement := "".join(parts).strip():
                yield statement
            parts = []
        elif not piece.startswith("--") or len(piece) == 1:
            parts.append(piece)
    if statement := "".join(parts).strip():
        yield statement


def outside_strings(text: str) -> str:
    """The text with every string constant blanked, of equal length: for searching. Quoted names stay."""
    return _QUOTED.sub(lambda found: found[0] if found[0].startswith("`") else " " * len(found[0]), text)


def without_default_role(create_user: str) -> str:
    """CREATE USER without its DEFAULT ROLE clause: the role may not exist yet, and is set after the grants."""
    found = _DEFAULT_ROLE.search(outside_strings(create_user))
    return create_user if found is None else create_user[: found.start()] + create_user[found.end() :]
