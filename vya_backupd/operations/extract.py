"""The plain SQL of single tables out of a backup, for whoever reads it: loadable by psql or mysql alone.

Only the bytes that are needed are read, twice: once to be sure of them, then to hand them on, so that damage is said
before the first byte and not in the midst.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator

from vya_backupd.engines.cut_mysql import table_text
from vya_backupd.engines.pick_postgresql import Wanted, pick, script
from vya_backupd.errors import IntegrityError, UsageError
from vya_backupd.model.backup import Manifest, Section
from vya_backupd.model.event import Event
from vya_backupd.operations.fitting import Fit, fit_of, refuse_strange
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.selection import SEQUENCES, Contents, Parts, open_contents, resolve, text_of
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source, describe_place, in_use, sources_of
from vya_backupd.pipeline.files import FileSource, open_source
from vya_backupd.pipeline.pieces import Rows, Script, prove, table_of_contents, texts_of


async def extract(site: Site, request: RestoreRequest, actor: str) -> AsyncGenerator[bytes]:
    """The text, in pieces of a few MiB at most; nobody deletes the backup meanwhile. Who reads what is an event.

    Raises:
        NotFoundError: no such backup, or it has no such table.
        IntegrityError: what is needed of the file is damaged; raised before anything was given.
    """
    if not request.tables:
        raise UsageError("nothing says which table is meant", hint="Name it with --table.")
    (source,) = await sources_of(site, request)
    with in_use(site, source):
        manifest = await manifest_of(source)
        parts = Parts(schema=not request.data_only, data=not request.schema_only, indexes=not request.no_indexes)
        refuse_strange(request, manifest.facts.engine)
        texts = _texts(site, source, manifest, request.tables, parts, fit_of(request))
        facts = manifest.facts
        data = {"backup_id": facts.id, "file": str(source.path), "tables": list(request.tables)}
        told = Event("backup.extracted", site.now(), None, facts.instance, facts.database, actor, data)
        await site.catalog.record(told)
        try:
            while (text := await asyncio.to_thread(next, texts, None)) is not None:
                yield text
        except IntegrityError as error:
            raise describe_place(error, source) from None
        finally:
            await asyncio.to_thread(texts.close)


async def manifest_of(source: Source) -> Manifest:
    """The file's manifest, or what its labels say where it has none.

    Raises:
        IntegrityError, UsageError: the file is damaged, or not one of ours.
    """
    if source.manifest is not None:
        return source.manifest
    return await asyncio.to_thread(table_of_contents, source.path)


def _texts(
    site: Site, source: Source, manifest: Manifest, tables: tuple[str, ...], parts: Parts, fit: Fit
) -> Generator[bytes]:
    with open_source(source.path) as file:
        contents = open_contents(file, manifest, site.pool)
        names = resolve(file, contents, tables, site.pool)
        wanted = script_of(site, file, contents, names, parts, fit)
        for each in wanted:
            if isinstance(each, Rows):
                prove(file, each.extents, site.pool)
        yield from texts_of(file, wanted, site.pool)


def script_of(
    site: Site, file: FileSource, contents: Contents, names: tuple[str, ...], parts: Parts, fit: Fit
) -> Script:
    """Everything that makes these tables, as a dump of its own."""
    if contents.listing is None:
        return _mysql(site, file, contents, names, parts, fit)
    picked = pick(contents.listing, Wanted(names, parts.indexes))
    wanted: list[bytes | Rows] = [contents.header]
    if parts.schema:
        wanted.append(fit.whole(script(picked.schema)))
    if parts.data:
        wanted.append(Rows(tuple(contents.extents(Section.DATA, picked.tables))))
        positions = text_of(file, contents, Section.DATA, SEQUENCES, site.pool)
        wanted.append(picked.positions(positions, contents.listing.dialect))
    if parts.schema:
        wanted.append(fit.whole(script(picked.post)))
    return [*wanted, contents.footer]


def _mysql(site: Site, file: FileSource, contents: Contents, names: tuple[str, ...], parts: Parts, fit: Fit) -> Script:
    def text(section: Section, name: str) -> bytes:
        return text_of(file, contents, section, name, site.pool) if parts.schema else b""

    return [
        contents.header,
        *(_definition(text(Section.SCHEMA, name), parts) for name in names),
        Rows(tuple(contents.extents(Section.DATA, names)) if parts.data else ()),
        *(fit.whole(text(Section.POST, name)) for name in names),
        contents.footer,
    ]


def _definition(text: bytes, parts: Parts) -> bytes:
    """CREATE TABLE; where so wanted, without foreign keys and all keys but the primary one."""
    table = None if parts.indexes else table_text(text)
    return text if table is None else table.thinned().text
