"""How values look to people: sizes, durations, moments, names. Pure text, no terminal."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float | None) -> str:
    """A number of bytes in binary units with three figures; ``-`` where unknown."""
    if count is None:
        return "-"
    if count < 1024:
        return f"{count:.0f} B"
    value = float(count)
    for unit in _UNITS:
        value /= 1024
        if value < 999.5 or unit == _UNITS[-1]:
            return f"{value:.{_digits(value)}f} {unit}"
    return "-"


def _digits(value: float) -> int:
    if value >= 99.95:
        return 0
    return 1 if value >= 9.995 else 2


def duration(seconds: float | None) -> str:
    """A span: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 07 min``; ``-`` where unknown."""
    if seconds is None or seconds < 0 or not math.isfinite(seconds):
        return "-"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def moment(text: str | None) -> str:
    """An ISO time in the caller's time zone, with its offset.

    Rounded up to the second, so that a time copied from a list into ``--datetime`` still finds the backup that it was
    listed for.
    """
    if not text:
        return "-"
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return plain(text)
    if when.microsecond:
        when = when.replace(microsecond=0) + timedelta(seconds=1)
    return (when.astimezone() if when.tzinfo else when).isoformat(sep=" ")


def plain(value: Any) -> str:
    """Text that cannot move the cursor: control characters of a hostile name become escapes; None becomes ``-``."""
    if value is None:
        return "-"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(value))


def paragraphs(value: Any) -> str:
    """As ``plain``, but lines stay lines: for messages that list several mistakes."""
    return "\n".join(plain(line) for line in str(value).splitlines())


def harmless(text: str) -> str:
    """As ``plain``, but all line breaks stay: the last look at whatever goes to a terminal."""
    return text if text.isprintable() else "\n".join(plain(line) for line in text.split("\n"))


def place(instance: Any, database: Any) -> str:
    """``instance/database``, or what is known of it."""
    return "/".join(plain(part) for part in (instance, database) if part)


def yes_no(value: Any) -> str:
    """A flag for a table."""
    return "yes" if value else "no"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 backup``, ``3 backups``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
