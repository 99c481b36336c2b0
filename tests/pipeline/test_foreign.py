"""Files that came another way than straight from a tool: through Windows, in several members, with something behind."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard

from vya_backupd.errors import IntegrityError
from vya_backupd.pipeline.files import open_source
from vya_backupd.pipeline.foreign import foreign_text

PLAIN = b"-- dump\nCREATE TABLE t (a text);\n" * 100_000
WINDOWS = PLAIN.replace(b"\n", b"\r\n")
BOM = b"\xef\xbb\xbf"


def read(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    with open_source(path) as source:
        return b"".join(text for text, _ in foreign_text(source))


def _packed(data: bytes, level: int = 9) -> bytes:
    """The same bytes at any time: they are part of the names of tests, which all processes must agree about."""
    return gzip.compress(data, level, mtime=0)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (BOM + WINDOWS, PLAIN),
        (_packed(WINDOWS, 1), PLAIN),
        (_packed(BOM, 1) + _packed(b"a\r", 1) + _packed(b"\nb", 1) + b"\0" * 7, b"a\nb"),
        (zstandard.compress(WINDOWS), PLAIN),
        (b"a\r\nb\r", b"a\nb\r"),
        (b"a\r\nbody\nof others\r\n", b"a\r\nbody\nof others\r\n"),
        (PLAIN + b"a\r\n", PLAIN + b"a\r\n"),
        (BOM, b""),
        (b"", b""),
    ],
    ids=["plain", "gzip", "members", "zstd", "last CR", "mixed", "late", "mark alone", "nothing"],
)
def test_a_text_is_as_its_tool_wrote_it(tmp_path: Path, data: bytes, text: bytes) -> None:
    assert read(tmp_path / "file", data) == text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_packed(b"short\n")[:-1], "before its end"),
        (_packed(PLAIN, 1)[:-1], "before its end"),
        (_packed(b"x\n") + b"gzip: done\n", "ends before byte 22, and something else follows"),
        (_packed(b"x\n") + b"\0\0" + b"!", "ends before byte 24, and something else follows"),
    ],
)
def test_what_is_cut_or_followed_is_damaged(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(IntegrityError, match=said):
        read(tmp_path / "file", data)
