"""Names in file names: percent-encoding that any file system, shell and sync tool leaves alone.

Kept as they are: ASCII letters and digits, ``-``, ``_``, ``.``, and letters, digits and marks of every other script, so
that an operator can read ``clientes_são_paulo``. Everything else becomes the ``%XX`` of its UTF-8 bytes:

* ``/`` and NUL cannot be in a file name; ``%`` would be taken for an escape;
* control characters, spaces, quotes, ``$``, ``*`` and their like make scripts and ``sha256sum -c`` stumble, and some
  sync targets refuse them;
* a leading ``.`` hides a file, a leading ``-`` looks like an option, a trailing ``.`` is dropped by Windows;
* a name that is not in Unicode's normal form C: its characters outside ASCII are all encoded. Some file systems and
  sync tools normalise, and would make two such names one.

``~`` is never kept, so it can mark a name that was too long and ends with a digest of the whole name instead. ``@``
is never kept either: ``%40globals`` is the name of an instance's globals, while a database that is really called so
becomes ``%40%67lobals``.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from vya_backupd.model.backup import GLOBALS_NAME

_KEPT_ASCII = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_KEPT_CATEGORIES = frozenset("LNM")
_GLOBALS = "%40globals"
_NOT_GLOBALS = "%40%67lobals"
_TRAILING_NUMBER = re.compile(r"_(?=[0-9]{1,3}\Z)")
_UNIT = re.compile(r"(?:%[0-9A-F]{2})+|[^%]")
DIGEST_LENGTH = 17
"""Characters that end a shortened name: ``~`` and 16 hex digits."""


def encode(name: str, *, is_globals: bool = False, extra: str = "", guard_number: bool = False) -> str:
    """The encoded name. ``extra`` characters are encoded too; ``guard_number``: a final ``_7`` as well.

    Raises:
        ValueError: the name is empty.
    """
    if not name:
        raise ValueError("an empty name has no place in a path")
    if name == GLOBALS_NAME:
        return _GLOBALS if is_globals else _NOT_GLOBALS
    normal = unicodedata.is_normalized("NFC", name)
    text = "".join(char if _kept(char, extra, normal=normal) else percent(char) for char in name)
    if unicodedata.category(text[0]) in ("Mn", "Mc", "Me") or text[0] in ".-":
        text = percent(text[0]) + text[1:]
    if text[-1] == ".":
        text = text[:-1] + percent(".")
    return _TRAILING_NUMBER.sub(percent("_"), text) if guard_number else text


def _kept(char: str, extra: str, *, normal: bool) -> bool:
    if char in extra:
        return False
    if char.isascii():
        return char in _KEPT_ASCII
    return normal and unicodedata.category(char)[0] in _KEPT_CATEGORIES


def percent(char: str) -> str:
    """``%XX`` for each byte of UTF-8; half a surrogate pair is kept apart from everything else by its own three."""
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def decode(text: str) -> str | None:
    """The name behind an encoded one, or None when the text is no encoded name, or a shortened one."""
    parts = []
    position = 0
    for unit in _UNIT.finditer(text):
        if unit.start() != position or unit[0] == "~":
            return None
        position = unit.end()
        parts.append(unit[0])
    if position != len(text) or not text:
        return None
    try:
        return "".join(_decoded(part) for part in parts)
    except UnicodeDecodeError:
        return None


def _decoded(unit: str) -> str:
    if not unit.startswith("%"):
        return unit
    return bytes.fromhex(unit.replace("%", "")).decode("utf-8", "surrogatepass")


def is_globals_name(text: str) -> bool:
    """Whether an encoded name is that of an instance's globals."""
    return text == _GLOBALS


def shorten(text: str, name: str, limit: int) -> str:
    """``text``, or when it is longer than ``limit`` bytes its beginning, ``~`` and a digest of the name itself."""
    if len(text.encode()) <= limit:
        return text
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[: DIGEST_LENGTH - 1]
    start = ""
    size = DIGEST_LENGTH
    for unit in re.finditer(r"%[0-9A-F]{2}|[^%]", text):
        size += len(unit[0].encode())
        if size > limit:
            break
        start += unit[0]
    return f"{start}~{digest}"
