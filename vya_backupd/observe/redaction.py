"""Secrets are taken out of whatever is about to be written down, in every disguise in which tools hand them back.

A secret becomes known by ``register_secret``, as soon as it is read. ``redact`` then replaces it in plain text and as
JSON, a URL, base64 (at any alignment), hex, a Python repr, or an option file would write it. This is the second line of
defence: the first is that nobody logs a ``Secret``.
"""

from __future__ import annotations

import base64
import json
import threading
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"

SHORTEST = 4
"""Shorter texts are not looked for: replacing every ``a`` hides nothing and ruins the log."""

_MAX_DEPTH = 8

_lock = threading.Lock()
_by_start: dict[str, tuple[str, ...]] = {}
"""Every form of every secret by its first characters, so that a line is searched as quickly for thousands as for one.

Longest first, or a plain form would eat the middle of a quoted one and leave its edges.
"""


def register_secret(text: str) -> None:
    """Never show this text again. May be repeated; secrets that were rotated away stay unsayable."""
    if len(text) < SHORTEST:
        return
    with _lock:
        for form in disguises(text):
            known = _by_start.get(form[:SHORTEST], ())
            if form not in known:
                # Other threads search meanwhile: what they have in hand stays as it is.
                _by_start[form[:SHORTEST]] = tuple(sorted((*known, form), key=len, reverse=True))


def forget_secrets() -> None:
    """Start over; for tests."""
    with _lock:
        _by_start.clear()


def redact(text: str) -> str:
    """The text with every known secret replaced."""
    if not _by_start:
        return text
    pieces: list[str] = []
    place = shown = 0
    last = len(text) - SHORTEST
    while place <= last:
        for form in _by_start.get(text[place : place + SHORTEST], ()):
            if text.startswith(form, place):
                pieces += (text[shown:place], MASK)
                place = shown = place + len(form)
                break
        else:
            place += 1
    return "".join((*pieces, text[shown:])) if pieces else text


def redact_value(value: Any, depth: int = 0) -> Any:
    """The same for text inside of dicts, lists and tuples; errors become their redacted text."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        return redact(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, BaseException):
        return redact(repr(value))
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _MAX_DEPTH:
        return redact(repr(value))
    if isinstance(value, dict):
        return {redact(str(key)): redact_value(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(each, depth + 1) for each in value]
    return redact(str(value))


def disguises(text: str) -> set[str]:
    """Every form in which this secret may turn up. Forms that are too short to mean anything are left out."""
    forms = {text, text.strip()}
    forms |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    # A JSON text inside of another JSON text, as in a logged request body.
    forms |= {json.dumps(json.dumps(text)[1:-1])[1:-1], repr(text)[1:-1], repr(repr(text)[1:-1])[1:-1]}
    forms |= {quote(text, safe=""), quote(text), quote_plus(text), quote(text, safe="").lower()}
    forms |= {ascii(text)[1:-1], text.encode("utf-8", "surrogateescape").hex()}
    forms |= {repr(text.encode("utf-8", "surrogateescape"))[2:-1]}
    forms |= _option_file_forms(text)
    forms |= _base64_forms(text.encode("utf-8", "surrogateescape"))
    return {form for form in forms if len(form) >= SHORTEST}


def _option_file_forms(text: str) -> set[str]:
    """As MySQL's option files, a .pgpass, a connection string and SQL literals escape it."""
    backslashed = text.replace("\\", "\\\\")
    quoted = backslashed.replace('"', '\\"')
    controls = quoted.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t").replace("\b", "\\b")
    return {
        backslashed,
        quoted,
        controls,
        controls.replace(" ", "\\s"),
        backslashed.replace(":", "\\:"),
        backslashed.replace("'", "\\'"),
        text.replace("'", "''"),
        backslashed.replace("'", "''"),
    }


def _base64_forms(raw: bytes) -> set[str]:
    """Its base64, also as the middle of something longer: at each alignment the characters that it alone decides."""
    forms = set()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()
        begin = -(-shift * 8 // 6)
        core = encoded[begin : (shift + len(raw)) * 8 // 6]
        if len(core) >= SHORTEST + 2:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    return forms
