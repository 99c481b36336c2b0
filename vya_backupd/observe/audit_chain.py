"""The chain of the audit: how a line is sealed, and how a break is found. No file is touched here.

A line is a JSON object whose last member is the digest of everything before it::

    {"seq":7,"event":41,"catalog":"5f0c…","prev":"<digest of line 6>","entry":{…},"hash":"<sha256>"}

``prev`` stands inside of what is digested, so each line vouches for all lines before it. ``entry`` is an object, or a
Fernet token of one: the chain can be followed without a key. ``event`` is how far the events of that ``catalog`` have
been written down, which is what a daemon needs that died between two lines. Each file begins with a line that carries
``opened``, so that a file that lost its beginning is told from one that follows a rotated one.

What the chain alone cannot tell is that lines are missing at its end, or that all of it was made anew. For that the
catalog keeps the newest line's number and digest (``Head``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

GENESIS = "0" * 64
"""What the first line of all has as its predecessor."""
MOST_PROBLEMS = 50
"""So many breaks are told one by one; more say nothing new."""

_SEAL = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_SEAL_LENGTH = len(b',"hash":""}') + 64

Entry = dict[str, Any] | str
Opener = Callable[[str], str]
"""Turns a Fernet token into its text; raises VyaError where no key fits."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest line: its number and digest, and the last event of ``catalog`` that is written down."""

    seq: int = 0
    hash: str = GENESIS
    event: int = 0
    catalog: str = ""

    def to_json(self) -> str:
        """As a mark of the catalog."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str | None) -> Head:
        """From a mark; without one, the head of an empty chain."""
        return Head(**json.loads(text)) if text else Head()


@dataclass(frozen=True, slots=True)
class Line:
    """A line whose digest is right."""

    seq: int
    event: int
    catalog: str
    prev: str
    entry: Entry
    hash: str
    opened: str | None = None

    @property
    def head(self) -> Head:
        """The chain's head, while this is the newest line."""
        return Head(self.seq, self.hash, self.event, self.catalog)


@dataclass(frozen=True, slots=True)
class Problem:
    """A break: in which file, at which line of it (from 1), at which number of the chain where that is known."""

    file: str
    line: int
    kind: str
    message: str
    seq: int | None = None


def seal(head: Head, event: int, entry: Entry, *, opened: str | None = None) -> tuple[bytes, Head]:
    """The next line of a chain, and the head that it makes."""
    facts: dict[str, Any] = {"seq": head.seq + 1, "event": event, "catalog": head.catalog, "prev": head.hash}
    if opened is not None:
        facts["opened"] = opened
    text = json.dumps(facts | {"entry": entry}, ensure_ascii=False, separators=(",", ":"), default=str)
    # A name that is no UTF-8 comes as lone surrogates; their JSON escape is what backslashreplace writes.
    body = text[:-1].encode("utf-8", "backslashreplace")
    digest = hashlib.sha256(body).hexdigest()
    line = b'%b,"hash":"%b"}\n' % (body, digest.encode())
    return line, Head(head.seq + 1, digest, event, head.catalog)


def parse(raw: bytes) -> Line:
    """A line of a file, with its newline.

    Raises:
        ValueError: it is no line of an audit, or its digest is not that of its content.
    """
    if not raw.endswith(b"\n"):
        raise ValueError("breaks off before its end")
    raw = raw[:-1]
    sealed = _SEAL.fullmatch(raw[-_SEAL_LENGTH:])
    if sealed is None:
        raise ValueError("is no line of the audit")
    digest = sealed[1].decode()
    if hashlib.sha256(raw[:-_SEAL_LENGTH]).hexdigest() != digest:
        raise ValueError("is not what its own digest says: it was changed")
    try:
        facts = json.loads(raw)
        return Line(
            int(facts["seq"]),
            int(facts["event"]),
            str(facts["catalog"]),
            str(facts["prev"]),
            _of_type(facts["entry"], (dict, str)),
            digest,
            _of_type(facts.get("opened"), (str, type(None))),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ValueError("is no line of the audit") from None


def _of_type(value: Any, kinds: tuple[type, ...]) -> Any:
    if not isinstance(value, kinds):
        raise TypeError(type(value))
    return value


@dataclass(slots=True)
class _Last:
    seq: int
    hash: str | None
    file: str
    line: int


@dataclass(slots=True)
class ChainCheck:
    """Follows a chain line by line, oldest first. ``head``: what the catalog says that the newest line is.

    ``open_token`` also proves that encrypted entries were written with a key of ours.
    """

    head: Head | None = None
    open_token: Opener | None = None
    problems: list[Problem] = field(default_factory=list)
    lines: int = 0
    encrypted: int = 0
    first_seq: int | None = None
    last_seq: int = 0
    _last: _Last | None = None

    def feed(self, file: str, number: int, raw: bytes) -> None:
        """The next line, with its newline."""
        self.lines += 1
        try:
            line = parse(raw)
        except ValueError as error:
            self._report(file, number, "changed", f"line {number} {error}")
            self._last = _Last(self._last.seq + 1, None, file, number) if self._last else None
            return
        self._place(file, number, line)
        self._open(file, number, line)

    def finish(self) -> None:
        """Nothing more follows: is the newest line there?"""
        head, last = self.head, self._last
        if head is None or head.seq <= self.last_seq:
            return
        file, number = (last.file, last.line) if last else ("", 0)
        missing = _span(self.last_seq + 1, head.seq)
        self._report(file, number, "cut_off", f"{missing} missing after line {number}, at the end", self.last_seq + 1)

    def _place(self, file: str, number: int, line: Line) -> None:
        last = self._last
        if last is None:
            self._begin(file, number, line)
        elif line.seq == last.seq + 1:
            if last.hash is not None and line.prev != last.hash:
                message = f"line {last.line} is not the one that the next line follows: it was replaced"
                self._report(last.file, last.line, "replaced", message, last.seq)
        elif line.seq > last.seq + 1:
            missing = _span(last.seq + 1, line.seq - 1)
            self._report(file, number, "missing", f"{missing} missing before line {number}", last.seq + 1)
        elif not (line.seq == last.seq and last.hash is None):
            message = (
                f"line {number} has the number {line.seq} and stands after number {last.seq}: it does not belong here"
            )
            self._report(file, number, "out_of_place", message, line.seq)
            return
        self._last = _Last(line.seq, line.hash, file, number)
        self.last_seq = max(self.last_seq, line.seq)
        if self.head is not None and line.seq == self.head.seq and line.hash != self.head.hash:
            message = f"line {number} is not the one that the catalog knows by its number: it was replaced"
            self._report(file, number, "replaced", message, line.seq)

    def _begin(self, file: str, number: int, line: Line) -> None:
        self.first_seq = line.seq if self.first_seq is None else self.first_seq
        if self.lines == 1 and (line.opened is None or (line.seq == 1 and line.prev != GENESIS)):
            self._report(file, number, "missing", "the lines before the first one of this file are missing", line.seq)

    def _open(self, file: str, number: int, line: Line) -> None:
        if not isinstance(line.entry, str):
            return
        self.encrypted += 1
        if self.open_token is None:
            return
        try:
            self.open_token(line.entry)
        except Exception as error:  # noqa: BLE001 - whatever the key's owner raises, the line stays closed
            self._report(file, number, "locked", f"line {number} cannot be decrypted: {error}", line.seq)

    def _report(self, file: str, line: int, kind: str, message: str, seq: int | None = None) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(file, line, kind, message, seq))


def _span(first: int, last: int) -> str:
    return f"number {first} is" if first == last else f"numbers {first} to {last} are"
