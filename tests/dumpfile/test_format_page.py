"""The page that describes the format to strangers: its reader runs, and reads what we write."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dumpfile import samples
from vya_backupd.dumpfile import segment as layout
from vya_backupd.dumpfile.segment import MemberKind
from vya_backupd.model.backup import Section
from vya_backupd.model.file_codec import FileCodec

PAGE = Path(__file__).parents[2] / "docs" / "format.md"


def run_reader(tmp_path: Path, data: bytes) -> subprocess.CompletedProcess[str]:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    (tmp_path / "reader.py").write_text(code[1], encoding="utf-8")
    (tmp_path / "file.gz").write_bytes(data)
    command = [sys.executable, str(tmp_path / "reader.py"), str(tmp_path / "file.gz")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("codec", FileCodec)
def test_the_reader_of_the_page_lists_what_we_wrote(tmp_path: Path, codec: FileCodec) -> None:
    data, writer = samples.build(known=samples.facts(codec=codec))
    done = run_reader(tmp_path, data)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert len(lines) == len(samples.segments())
    first = writer.extents[0]
    assert lines[0].split()[:3] == [str(first.offset), str(first.size), "header"]
    assert sum(line.split()[3:4] == ["public.a"] for line in lines) == 2
    assert last == f"taken at {samples.MOMENT.isoformat()}"


@pytest.mark.parametrize("codec", FileCodec)
def test_the_reader_of_the_page_finds_a_damaged_label(tmp_path: Path, codec: FileCodec) -> None:
    data, writer = samples.build(known=samples.facts(codec=codec))
    broken = bytearray(data)
    broken[writer.extents[1].offset + 25] ^= 1
    assert "damaged label at byte" in run_reader(tmp_path, bytes(broken)).stderr


def test_the_page_names_every_number_that_is_written() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for section in Section:
        assert f"{section.value} {section.name.lower()}" in page
    for kind in MemberKind:
        assert f"{kind.value} {kind.name.lower()}" in page
    assert f"Format version: {layout.FORMAT_VERSION}." in page
    assert f"{layout.PAYLOAD_LIMIT:,} bytes" in page
    assert f"Read {layout.SMALLEST_HEADER} bytes" in page
