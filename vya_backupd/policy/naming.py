"""Where a backup lies and how it is called: templates, both ways.

``Naming.path`` gives the relative path of a new backup, ``Naming.parse`` reads one back. The manifest, and the facts in
the file itself, are the truth; a path is read back for foreign and orphaned files only, and to show that no two names
collide. What is lost in a path: the second of the two equal hours of a clock change, and names that were shortened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from itertools import takewhile

from vya_backupd.model.backup import BackupType
from vya_backupd.model.file_codec import FileCodec
from vya_backupd.model.instance import EngineKind
from vya_backupd.policy import encoding
from vya_backupd.policy.template import FREE, Component, Slot, TimeFormat, compile_component, time_format

FOLDER_LIMIT = 255
"""Bytes in the name of a folder: the limit of Linux file systems."""
FILE_LIMIT = 220
"""Bytes in the name of a backup file: what the longest sidecar suffix and ``_999`` leave of 255."""
_SUFFIX = re.compile(r"(?P<text>(?:\.sql)?)\.(?:gz|zst)\Z")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a path tells of a backup. ``moment`` is aware; it is written in the naming's time zone."""

    hostname: str
    instance: str
    database: str
    engine: EngineKind
    type: BackupType
    moment: datetime


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What could be read from a path; None where the templates do not say, or the name was shortened.

    ``number`` is 1, or N of the ``_N`` that a taken name got. ``moment`` is aware; ``day`` is local.
    """

    hostname: str | None = None
    instance: str | None = None
    database: str | None = None
    engine: EngineKind | None = None
    type: BackupType | None = None
    moment: datetime | None = None
    day: date | None = None
    number: int = 1


class Naming:
    """The two templates of a store, compiled.

    Raises:
        ValueError: a template would give unsafe or ambiguous names.
    """

    def __init__(self, structure: str, pattern: str, datetime_format: str, zone: tzinfo) -> None:
        self._times = time_format(datetime_format)
        self._zone = zone
        self._folders = _folders(structure, self._times)
        self._file, self._suffix = _file(pattern, self._times)

    def path(self, subject: Subject, codec: FileCodec = FileCodec.GZIP) -> str:
        """The relative path, with ``/``, of this backup's data file. It ends as files of the codec do.

        Raises:
            ValueError: a name is empty.
        """
        local = subject.moment.astimezone(self._zone)
        components = [_render(component, subject, local, self._times) for component in (*self._folders, self._file)]
        return "/".join(components) + self._suffix + codec.suffix

    def folder(self, subject: Subject) -> str:
        """The deepest folder that holds every backup of this subject, whenever it is made; empty: the base itself."""
        local = subject.moment.astimezone(self._zone)
        fixed = takewhile(lambda component: not _tells_time(component), self._folders)
        return "/".join(_render(component, subject, local, self._times) for component in fixed)

    def parse(self, path: str) -> ParsedName | None:
        """Read a path back; None when it is none that these templates give."""
        texts = path.split("/")
        if len(texts) != len(self._folders) + 1:
            return None
        found: dict[str, list[str]] = {}
        number = 1
        for component, text in zip((*self._folders, self._file), texts, strict=True):
            match = component.pattern.fullmatch(text)
            if match is None or not _collect(component, match, found):
                return None
            number = int(match.groupdict().get("number") or 1)
        return self._parsed(found, number)

    def _parsed(self, found: dict[str, list[str]], number: int) -> ParsedName | None:
        kinds = _kinds(found)
        moment = self._times.parse(found["datetime"][0]) if "datetime" in found else None
        try:
            day = date.fromisoformat(found["date"][0]) if "date" in found else None
        except ValueError:
            return None
        if len(kinds) > 1 or ("datetime" in found and moment is None) or (day and moment and moment.date() != day):
            return None
        names = {name: _agreed(found[name]) if name in found else None for name in FREE}
        engine = _one(found.get("engine"))
        return ParsedName(
            names["hostname"],
            names["db_id"],
            names["db_name"],
            EngineKind(engine) if engine else None,
            kinds.pop() if kinds else None,
            moment.replace(tzinfo=self._zone) if moment else None,
            day or (moment.date() if moment else None),
            number,
        )


def numbered(path: str, number: int) -> str:
    """The path that a taken name gets: ``x_full_2.sql.gz`` for ``x_full.sql.gz`` and 2."""
    suffix = _SUFFIX.search(path)
    cut = suffix.start() if suffix else len(path)
    return f"{path[:cut]}_{number}{path[cut:]}"


def data_suffixes(pattern: str) -> tuple[str, ...]:
    """How data files end whose names are made by this pattern: what follows its last placeholder, for each codec."""
    literal = pattern.rpartition("}")[2]
    stem = _SUFFIX.sub(lambda suffix: suffix["text"], literal)
    return tuple(stem + codec.suffix for codec in FileCodec)


def check_structure(structure: str) -> None:
    """Accept a template of folders.

    Raises:
        ValueError: what is wrong with it.
    """
    _folders(structure, time_format("%Y%m%d_%H%M%S"))


def check_pattern(pattern: str, datetime_format: str) -> None:
    """Accept a template of file names with its format of times.

    Raises:
        ValueError: what is wrong with it.
    """
    _file(pattern, time_format(datetime_format))


def _folders(structure: str, times: TimeFormat) -> tuple[Component, ...]:
    if not structure or structure.startswith("/") or structure.endswith("/") or "//" in structure:
        raise ValueError("must be a relative path, of one folder at least, without empty parts")
    return tuple(compile_component(part, times, limit=FOLDER_LIMIT) for part in structure.split("/") if part)


def _file(pattern: str, times: TimeFormat) -> tuple[Component, str]:
    suffix = _SUFFIX.search(pattern)
    if suffix is None:
        raise ValueError("pattern must end with .gz; in names of zstd files .zst takes its place")
    stem = pattern[: suffix.start()]
    if "/" in stem:
        raise ValueError("pattern must not hold a slash; folders belong into storage.local.structure")
    endings = tuple(suffix["text"] + codec.suffix for codec in FileCodec)
    return compile_component(stem, times, limit=FILE_LIMIT, suffixes=endings), suffix["text"]


def _tells_time(component: Component) -> bool:
    return any(not isinstance(part, str) and part.name in {"date", "datetime"} for part in component.parts)


def _render(component: Component, subject: Subject, local: datetime, times: TimeFormat) -> str:
    return "".join(part if isinstance(part, str) else _value(part, subject, local, times) for part in component.parts)


def _value(slot: Slot, subject: Subject, local: datetime, times: TimeFormat) -> str:
    fixed = {
        "engine": str(subject.engine),
        "type": str(subject.type),
        "date": f"{local.year:04}-{local.month:02}-{local.day:02}",
        "datetime": times.render(local),
    }
    if slot.name in fixed:
        return fixed[slot.name]
    name = {"hostname": subject.hostname, "db_id": subject.instance, "db_name": subject.database}[slot.name]
    is_globals = slot.name == "db_name" and subject.type is BackupType.GLOBALS
    text = encoding.encode(name, is_globals=is_globals, extra=slot.extra, guard_number=slot.guard_number)
    return encoding.shorten(text, name, slot.limit)


def _collect(component: Component, match: re.Match[str], found: dict[str, list[str]]) -> bool:
    """Note the texts of all slots. False when a name is not written as we write it, so cannot be ours."""
    for index, part in enumerate(component.parts):
        if isinstance(part, str):
            continue
        text = match[f"s{index}"]
        if part.name in FREE and not _canonical(text, part):
            return False
        if part.name not in FREE and found.get(part.name, [text]) != [text]:
            return False
        if part.name in FREE or part.name not in found:
            found.setdefault(part.name, []).append(text)
    return True


def _canonical(text: str, slot: Slot) -> bool:
    if "~" in text:
        return bool(re.search(r"~[0-9a-f]{16}\Z", text))
    name = encoding.decode(text)
    if not name:
        return False
    is_globals = slot.name == "db_name" and encoding.is_globals_name(text)
    return encoding.encode(name, is_globals=is_globals, extra=slot.extra, guard_number=slot.guard_number) == text


def _agreed(texts: list[str]) -> str | None:
    names = {name for name in map(encoding.decode, texts) if name is not None}
    return names.pop() if len(names) == 1 else None


def _one(texts: list[str] | None) -> str | None:
    return texts[0] if texts else None


def _kinds(found: dict[str, list[str]]) -> set[BackupType]:
    """What the path says of its type: by the word, and by the reserved name. More than one is a contradiction."""
    kinds = {BackupType(text) for text in found.get("type", [])}
    for text in found.get("db_name", []):
        kinds.add(BackupType.GLOBALS if encoding.is_globals_name(text) else BackupType.FULL)
    return kinds
