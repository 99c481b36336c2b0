"""What single tables of a backup are made of: which bytes of the file, which text of its sections.

For a partial restore and for ``extract``. Nothing here touches a server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vya_backupd.engines.kinds_postgresql import EntryKind
from vya_backupd.engines.pick_postgresql import Listing
from vya_backupd.errors import NotFoundError, UsageError
from vya_backupd.model.backup import BackupType, Extent, Manifest, Section
from vya_backupd.model.instance import EngineKind
from vya_backupd.operations.site import nearest
from vya_backupd.pipeline.files import FileSource
from vya_backupd.pipeline.pieces import check_ends, last_text, pieces

SEQUENCES = "sequences"
"""The object of a PostgreSQL backup that holds the positions of all sequences."""
LARGE_OBJECTS = "large objects"
"""The one that holds all of these."""
_MYSQL_KIND = re.compile(rb"^(?:/\*!\d+ )?CREATE (?:TEMPORARY )?(TABLE|VIEW|SEQUENCE)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts of a table are meant. ``indexes``: with its indexes, keys and foreign keys."""

    schema: bool = True
    data: bool = True
    indexes: bool = True


@dataclass(frozen=True, slots=True)
class Contents:
    """A file's table of contents, and what its small sections say.

    ``read`` are the bytes of the file that it took to know this.
    """

    manifest: Manifest
    header: bytes
    footer: bytes
    listing: Listing | None
    read: int

    def extents(self, section: Section, names: Iterable[str]) -> list[Extent]:
        """The extents of these objects, in the order of the file."""
        wanted = set(names)
        return [each for each in self.manifest.extents if each.section is section and each.name in wanted]

    def rows(self, name: str) -> int | None:
        """Rows of a table, None where they were not counted."""
        counted = [each.rows for each in self.extents(Section.DATA, [name])]
        return None if not counted or None in counted else sum(each or 0 for each in counted)


def open_contents(source: FileSource, manifest: Manifest, pool: ThreadPoolExecutor) -> Contents:
    """Check that file and manifest belong together, and read the sections that belong to no table.

    Raises:
        IntegrityError: damage, or a manifest of another file.
        UsageError: a backup of users and grants.
    """
    if manifest.facts.type is BackupType.GLOBALS:
        raise UsageError("users and grants have no tables", hint="Restore them whole, with --globals.")
    read = check_ends(source, manifest)
    header, footer = (_text(source, _of(manifest, section), pool) for section in (Section.HEADER, Section.FOOTER))
    listing = None
    if manifest.facts.engine is EngineKind.POSTGRESQL:
        inner = [_of(manifest, section) for section in (Section.SCHEMA, Section.POST)]
        schema, post = (_text(source, extents, pool) for extents in inner)
        data = _of(manifest, Section.DATA)
        # A setting that the post section changes may have been made behind the last rows.
        behind = last_text(source, max(data, key=lambda each: each.end)) if data and b"\nSET default_" in post else b""
        listing = Listing.of(header, schema, post, behind)
        read += sum(each.size for extents in inner for each in extents)
    outer = (*_of(manifest, Section.HEADER), *_of(manifest, Section.FOOTER))
    return Contents(manifest, header, footer, listing, read + sum(each.size for each in outer))


def _of(manifest: Manifest, section: Section) -> list[Extent]:
    return [each for each in manifest.extents if each.section is section]


def _text(source: FileSource, extents: Iterable[Extent], pool: ThreadPoolExecutor) -> bytes:
    return b"".join(piece.text for piece in pieces(source, extents, pool))


def text_of(source: FileSource, contents: Contents, section: Section, name: str, pool: ThreadPoolExecutor) -> bytes:
    """The text of one object in one section, as a whole: for definitions, not for rows."""
    return _text(source, contents.extents(section, [name]), pool)


def resolve(source: FileSource, contents: Contents, names: Sequence[str], pool: ThreadPoolExecutor) -> tuple[str, ...]:
    """The tables that are meant, as the file calls them.

    Raises:
        NotFoundError: ``unknown_table``, with the nearest names.
        UsageError: a name that several schemas have, or of something that is no table.
    """
    known, others = _known(contents)
    found = tuple(dict.fromkeys(_resolved(name, known, others, contents) for name in names))
    if contents.listing is None:
        for name in found:
            _refuse_other_kinds(name, text_of(source, contents, Section.SCHEMA, name, pool))
    return found


def with_rows(source: FileSource, contents: Contents, pool: ThreadPoolExecutor) -> tuple[str, ...]:
    """All tables that have rows in the backup, as the file calls them.

    Raises:
        NotFoundError: ``unknown_table``, none has.
    """
    found = dict.fromkeys(each.name for each in _of(contents.manifest, Section.DATA))
    if contents.listing is not None:
        names = [each for each in found if each not in (SEQUENCES, LARGE_OBJECTS)]
    else:
        names = [each for each in found if _kind(text_of(source, contents, Section.SCHEMA, each, pool)) == "table"]
    if not names:
        facts = contents.manifest.facts
        raise NotFoundError(
            f"the backup of {facts.database!r} has no rows",
            code="unknown_table",
            hint="Leave --data-only out.",
            instance=facts.instance,
            database=facts.database,
        )
    return tuple(names)


def _known(contents: Contents) -> tuple[list[str], dict[str, str]]:
    """Tables by name; and other things that somebody may take for one, with what they are."""
    if contents.listing is None:
        return [each.name for each in _of(contents.manifest, Section.SCHEMA)], {}
    listing = contents.listing
    others = {name: kind.value for kind in (EntryKind.VIEW, EntryKind.SEQUENCE) for name in listing.named(kind)}
    return listing.named(EntryKind.TABLE), others


def _resolved(name: str, known: Sequence[str], others: dict[str, str], contents: Contents) -> str:
    wanted = _unquoted(name)
    if wanted in known:
        return wanted
    listing = contents.listing
    short = [each for each in known if listing.split(each)[1] == wanted] if listing else []
    if len(short) == 1:
        return short[0]
    if short:
        raise UsageError(f"several schemas have a table {name!r}", hint=f"Name one of {', '.join(sorted(short))}.")
    other = next((each for each in others if wanted in (each, each.partition(".")[2])), None)
    if other is not None:
        raise _no_table(other, others[other])
    facts = contents.manifest.facts
    raise NotFoundError(
        f"the backup of {facts.database!r} has no table {name!r}",
        code="unknown_table",
        hint=f"{nearest(wanted, known)} See 'vyactl backups show {facts.id}'." if known else "It has no tables at all.",
        instance=facts.instance,
        database=facts.database,
    )


def _unquoted(name: str) -> str:
    """A name as files have it: quotes around its parts go."""
    parts = re.findall(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|[^."`]+', name)
    if ".".join(parts) != name:
        return name
    return ".".join(part[1:-1].replace(part[0] * 2, part[0]) if part[0] in '"`' else part for part in parts)


def _refuse_other_kinds(name: str, definition: bytes) -> None:
    kind = _kind(definition)
    if kind != "table":
        raise _no_table(name, kind)


def _kind(definition: bytes) -> str:
    """What a definition of MySQL or MariaDB makes."""
    found = _MYSQL_KIND.search(definition)
    return found.group(1).decode().lower() if found else "table"


def _no_table(name: str, kind: str) -> UsageError:
    return UsageError(
        f"{name!r} is a {kind}, not a table",
        hint="Single tables can be restored; for all else, restore the database beside the original.",
    )
