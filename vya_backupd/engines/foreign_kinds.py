"""What a file is that we did not write, told from its first bytes: whose dump, or no plain dump at all."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from vya_backupd.model.instance import EngineKind

HEAD = 64 * 1024
"""Bytes of text in which a dump tool has said what it is."""


@dataclass(frozen=True, slots=True)
class Strange:
    """Something that cannot be restored as it is: what it is, and what to do with it."""

    what: str
    way: str


_PLAIN_DUMP = "Dump anew as plain SQL (pg_dump without -F, mysqldump), as it is, gzip or zstd."
_UNPACK = "Unpack it first; plain text, gzip and zstd are read as they are."
_PG_RESTORE = "'pg_restore --file=NAME.sql FILE' makes plain SQL of it, which is restored with --file NAME.sql."
_PACKED_TWICE = Strange("packed twice", "Unpack it once; plain text, gzip and zstd are read as they are.")
_IN_UTF_16 = Strange(
    "text in UTF-16, as PowerShell's > writes it",
    "Dump anew with --result-file or --file; a copy in UTF-8 has lost what was no UTF-8 before.",
)
_BEGINNINGS: tuple[tuple[bytes, Strange], ...] = (
    (b"PGDMP", Strange("an archive of pg_dump in custom format", _PG_RESTORE)),
    (b"\xfd7zXZ\x00", Strange("packed with xz", _UNPACK)),
    (b"BZh", Strange("packed with bzip2", _UNPACK)),
    (b"PK\x03\x04", Strange("a zip archive", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Strange("a 7-Zip archive", _UNPACK)),
    (b"\x04\x22\x4d\x18", Strange("packed with lz4", _UNPACK)),
    (b"\x89LZO\x00", Strange("packed with lzop", _UNPACK)),
    (b"LZIP", Strange("packed with lzip", _UNPACK)),
    (b"Rar!\x1a\x07", Strange("a RAR archive", _UNPACK)),
    (b"age-encryption.org/", Strange("encrypted with age", "Decrypt it first.")),
    (b"-----BEGIN PGP MESSAGE", Strange("encrypted with OpenPGP", "Decrypt it first.")),
    (b"Salted__", Strange("encrypted with openssl", "Decrypt it first.")),
    (b"XBSTCK01", Strange("a stream of xtrabackup or mariabackup, the files of a server", _PLAIN_DUMP)),
    (b"SQLite format 3\x00", Strange("a database of SQLite", _PLAIN_DUMP)),
    (b"\xfebin", Strange("a binary log of MySQL or MariaDB", "'mysqlbinlog' makes SQL of it.")),
    (b"\xff\xfe", _IN_UTF_16),
    (b"\xfe\xff", _IN_UTF_16),
    (b"\x1f\x8b", _PACKED_TWICE),
    (b"\x28\xb5\x2f\xfd", _PACKED_TWICE),
    (b"<?xml", Strange("an XML dump", _PLAIN_DUMP)),
)
_UTF_16 = re.compile(rb"(?:\x00[\t\n\r -~]){16}|(?:[\t\n\r -~]\x00){16}")
"""Without a byte order mark."""
_TAR = slice(257, 262)
_TAR_OF_PG_DUMP = b"toc.dat\0"
_CLUSTER = re.compile(rb"^-- PostgreSQL database cluster dump$", re.MULTILINE)
_WHOLE_SERVER = Strange(
    "a dump of a whole server (pg_dumpall), which makes roles and databases of its own",
    "Dump single databases with pg_dump, or feed this file to psql on an empty server by hand.",
)
_FOLDERS: tuple[tuple[str, Strange], ...] = (
    ("toc.dat", Strange("an archive of pg_dump in directory format", _PG_RESTORE)),
    ("@.json", Strange("a dump of MySQL Shell", "'util.loadDump()' of mysqlsh loads it.")),
    ("metadata", Strange("a dump of mydumper", "'myloader --directory FOLDER' loads it.")),
    ("PG_VERSION", Strange("the files of a PostgreSQL server", _PLAIN_DUMP)),
    ("backup_manifest", Strange("a base backup of a PostgreSQL server", _PLAIN_DUMP)),
    ("xtrabackup_checkpoints", Strange("a backup of xtrabackup", _PLAIN_DUMP)),
    ("mariadb_backup_checkpoints", Strange("a backup of mariadb-backup", _PLAIN_DUMP)),
)


def strange_file(head: bytes) -> Strange | None:
    """What a file is, given the first ``HEAD`` bytes of its text, when it is no plain dump of one database."""
    for beginning, found in _BEGINNINGS:
        if head.startswith(beginning):
            return found
    if _UTF_16.match(head):
        return _IN_UTF_16
    if head[_TAR] == b"ustar":
        is_dump = head.startswith(_TAR_OF_PG_DUMP)
        return (
            Strange("an archive of pg_dump in tar format", _PG_RESTORE) if is_dump else Strange("a tar file", _UNPACK)
        )
    return None


def whole_server(head: bytes) -> Strange | None:
    """A plain dump of more than one database; it can be verified, but not restored into one."""
    return _WHOLE_SERVER if _CLUSTER.search(head) else None


def strange_folder(names: Collection[str]) -> Strange | None:
    """What a folder with these files is, when it is somebody's backup."""
    return next((found for name, found in _FOLDERS if name in names), None)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a dump says of itself. ``kind`` None and empty words: it does not say."""

    tool: str = ""
    kind: EngineKind | None = None
    server_version: str = ""
    database: str = ""

    def __str__(self) -> str:
        server = f"{self.kind} {self.server_version}".rstrip() if self.kind else "no known server"
        parts = (server, f"by {self.tool}" if self.tool else "", f"database {self.database!r}" if self.database else "")
        return ", ".join(part for part in parts if part)


_POSTGRESQL = re.compile(rb"^-- Dumped from database version (?P<server>[\d.]+)", re.MULTILINE)
_PG_DUMP = re.compile(rb"^-- Dumped by pg_dump version (?P<version>[\d.]+)", re.MULTILINE)
_MYSQLDUMP = re.compile(rb"^-- (?P<vendor>MySQL|MariaDB) dump [^\n]*", re.MULTILINE)
_PHPMYADMIN = re.compile(rb"^-- phpMyAdmin SQL Dump", re.MULTILINE)
_SERVER = re.compile(rb"^-- Server version:?\s+(?P<server>\d[^\s]*)([^\n]*)", re.MULTILINE)
_DATABASE = re.compile(rb"^-- (?:Host: [^\n]*? {4}Database: |Database: `)(?P<name>[^\n`]+)", re.MULTILINE)
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")


def origin_of(head: bytes) -> Origin:
    """Who wrote a dump, and from what, given the first ``HEAD`` bytes of its text."""
    if (found := _POSTGRESQL.search(head)) is not None:
        tool = _PG_DUMP.search(head)
        name = f"pg_dump {_text(tool['version'])}" if tool else "pg_dump"
        return Origin(name, EngineKind.POSTGRESQL, _text(found["server"]))
    dump, php = _MYSQLDUMP.search(head), _PHPMYADMIN.search(head)
    if dump is None and php is None:
        return Origin()
    server, database = _SERVER.search(head), _DATABASE.search(head)
    words = _text(server.group()) if server else ""
    is_mariadb = "mariadb" in words.lower() or (dump is not None and b"MariaDB" in dump.group())
    numbers = _NUMBERS.search(words)
    return Origin(
        "phpMyAdmin" if dump is None else "mariadb-dump" if is_mariadb else "mysqldump",
        EngineKind.MARIADB if is_mariadb else EngineKind.MYSQL,
        numbers.group() if numbers else "",
        _text(database["name"]) if database else "",
    )


def _text(found: bytes) -> str:
    return found.decode("utf-8", "backslashreplace")
