"""Chains of audit lines in files, made by hand of the pure parts."""

from __future__ import annotations

import gzip
from pathlib import Path

from vya_backupd.observe.audit_chain import ChainCheck, Head, seal
from vya_backupd.observe.audit_file import by_age, check

NAMES = ("audit.log.2.gz", "audit.log.1", "audit.log")
EACH = 4


def chain() -> tuple[list[list[bytes]], Head]:
    """Three files of four lines, each beginning as files do, and the head."""
    head, files = Head(catalog="c"), []
    for number in range(len(NAMES)):
        first, head = seal(head, head.event, {"event": "audit.opened"}, opened=f"2026-01-0{number + 1}")
        lines = [first]
        for _ in range(EACH - 1):
            line, head = seal(head, head.event + 1, {"event": "backup.deleted", "actor": "jörg(7)", "n": head.seq})
            lines.append(line)
        files.append(lines)
    return files, head


def resealed(line: bytes, head: Head, entry: dict[str, object]) -> bytes:
    """A line with another entry, whose own digest is right."""
    return seal(head, head.event + 1, entry)[0]


def write(folder: Path, files: list[list[bytes]]) -> list[Path]:
    """Put them where a rotation would leave them."""
    paths = []
    for name, lines in zip(NAMES, files, strict=True):
        content = b"".join(lines)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        paths.append(folder / name)
    return paths


def follow(paths: list[Path], head: Head | None) -> ChainCheck:
    found = ChainCheck(head)
    check(by_age(paths), found)
    return found
