"""One component of a path as a template: literals and placeholders, compiled to a renderer and a parser.

``{hostname} {db_id} {db_name}`` are *free*: any text. ``{engine} {date} {datetime} {type}`` are *fixed*: one of a few
words, or digits of known width. A component with several free placeholders is read from its right end: the character
before each but the first is encoded wherever it occurs in that value, so it can only be the separator. So
``{hostname}-{db_name}`` stays readable for host names with dashes, and no two pairs give the same text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from vya_backupd.policy import encoding

FREE = ("hostname", "db_id", "db_name")
_FIXED = {
    "engine": "mysql|mariadb|postgresql",
    "type": "full|globals",
    "date": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
}
PLACEHOLDERS = (*FREE, "engine", "date", "datetime", "type")
_SPLIT = re.compile(r"\{([^{}]*)\}")
_LITERAL = re.compile(r"[A-Za-z0-9._@+=,-]*")
_SEPARATORS = "-_.@+=,"
_DIRECTIVES: dict[str, tuple[str, Callable[[datetime], str]]] = {
    "Y": ("[0-9]{4}", lambda t: f"{t.year:04}"),
    "m": ("[0-9]{2}", lambda t: f"{t.month:02}"),
    "d": ("[0-9]{2}", lambda t: f"{t.day:02}"),
    "H": ("[0-9]{2}", lambda t: f"{t.hour:02}"),
    "M": ("[0-9]{2}", lambda t: f"{t.minute:02}"),
    "S": ("[0-9]{2}", lambda t: f"{t.second:02}"),
    "j": ("[0-9]{3}", lambda t: f"{t.timetuple().tm_yday:03}"),
}
NUMBER = r"(?:_(?P<number>[2-9]|[1-9][0-9]{1,2}))?"
"""What a taken name gets: ``_2`` to ``_999``."""


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """``{datetime}``: a small and reversible part of strftime."""

    text: str
    pattern: str
    width: int

    def render(self, moment: datetime) -> str:
        """The time as this format writes it."""
        return re.sub("%(.)", lambda match: _DIRECTIVES[match[1]][1](moment), self.text)

    def parse(self, text: str) -> datetime | None:
        """The naive time, or None when there is no such day or hour."""
        try:
            return datetime.strptime(text, self.text)  # noqa: DTZ007  the zone belongs to the caller
        except ValueError:
            return None


def time_format(text: str) -> TimeFormat:
    """Compile ``datetime_format``.

    Raises:
        ValueError: it has other directives or characters, or does not name the day.
    """
    used = re.findall("%(.?)", text)
    literal = re.sub("%.?", "", text)
    if not set(used) <= set(_DIRECTIVES) or not re.fullmatch(r"[-_.T]*", literal) or len(set(used)) != len(used):
        raise ValueError("datetime_format may hold each of %Y %m %d %H %M %S %j once, and - _ . T between them")
    if "Y" not in used or not ({"m", "d"} <= set(used) or "j" in used):
        raise ValueError("datetime_format must name the day: %Y with %m and %d, or with %j")
    pattern = "".join(
        re.escape(part) if index % 2 == 0 else _DIRECTIVES[part][0] for index, part in enumerate(re.split("%(.)", text))
    )
    return TimeFormat(text, pattern, sum({"Y": 4, "j": 3}.get(part, 2) for part in used) + len(literal))


@dataclass(frozen=True, slots=True)
class Slot:
    """A placeholder in its place: what else must be encoded in its value, and how many bytes it may have."""

    name: str
    extra: str = ""
    guard_number: bool = False
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Component:
    """One compiled component: literals and slots in turn, and the pattern that reads them back."""

    parts: tuple[str | Slot, ...]
    pattern: re.Pattern[str]
    slots: tuple[Slot, ...] = field(default=())


def compile_component(text: str, times: TimeFormat, *, limit: int, suffixes: tuple[str, ...] = ()) -> Component:
    """Compile one component. With ``suffixes`` (``.sql.gz``) it is a file name, whose number stands before one of them.

    Raises:
        ValueError: it would give unsafe or ambiguous names.
    """
    pieces = _SPLIT.split(text)
    _check_pieces(pieces, text)
    slots = _slots(pieces, numbered=bool(suffixes))
    room = limit - _fixed_size(pieces, times) - max(map(len, suffixes), default=0)
    free = sum(slot.name in FREE for slot in slots)
    share = room // free if free else 0
    if room < 0 or (free and share < encoding.DIGEST_LENGTH + 8):
        raise ValueError(f"{text} leaves too little room for names")
    parts: list[str | Slot] = []
    for index, piece in enumerate(pieces):
        if index % 2:
            slot = slots[index // 2]
            parts.append(Slot(slot.name, slot.extra, slot.guard_number, share))
        elif piece:
            parts.append(piece)
    ending = f"{NUMBER}(?:{'|'.join(map(re.escape, suffixes))})" if suffixes else ""
    pattern = _pattern(parts, times) + ending
    return Component(tuple(parts), re.compile(pattern), tuple(part for part in parts if isinstance(part, Slot)))


def _check_pieces(pieces: list[str], text: str) -> None:
    for name in pieces[1::2]:
        if name not in PLACEHOLDERS:
            known = " ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise ValueError(f"{{{name}}} is no placeholder; there are {known}")
    if not text or any(not _LITERAL.fullmatch(literal) for literal in pieces[0::2]):
        raise ValueError("between placeholders there may be ASCII letters, digits and - _ . @ + = ,")
    if text[0] in ".-" or (len(pieces) == 1 and text.endswith(".")):
        raise ValueError("a part of a path must not begin with . or -, nor end with .")


def _slots(pieces: list[str], *, numbered: bool) -> list[Slot]:
    slots: list[Slot] = []
    seen_free = False
    for index in range(1, len(pieces), 2):
        name, before = pieces[index], pieces[index - 1]
        extra = ""
        if name in FREE and seen_free:
            if not before or before[-1] not in _SEPARATORS:
                raise ValueError(f"before {{{name}}} a separator such as - or _ is needed, to read the name back")
            extra = before[-1]
        seen_free = seen_free or name in FREE
        last = numbered and name in FREE and index == len(pieces) - 2 and not pieces[-1]
        slots.append(Slot(name, extra, last))
    return slots


def _fixed_size(pieces: list[str], times: TimeFormat) -> int:
    widths = {"engine": 10, "type": 7, "date": 10, "datetime": times.width}
    return sum(len(piece) for piece in pieces[0::2]) + sum(widths.get(name, 0) for name in pieces[1::2])


def _pattern(parts: list[str | Slot], times: TimeFormat) -> str:
    pattern = ""
    for index, part in enumerate(parts):
        if isinstance(part, str):
            pattern += re.escape(part)
        elif part.name in FREE:
            lazy = "?" if part.guard_number else ""  # a number after it is the number, never the name's end
            pattern += f"(?P<s{index}>[^/{re.escape(part.extra)}]+{lazy})"
        else:
            pattern += f"(?P<s{index}>{times.pattern if part.name == 'datetime' else _FIXED[part.name]})"
    return pattern
