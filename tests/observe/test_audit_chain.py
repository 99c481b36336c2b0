"""Every kind of tampering with the audit is found, and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.observe.chains import EACH, NAMES, chain, follow, write
from vya_backupd.errors import StorageError
from vya_backupd.observe.audit_chain import ChainCheck, Head, parse, seal
from vya_backupd.observe.audit_file import forerunners

Place = tuple[str, int, str]


def broken(folder: Path, files: list[list[bytes]], head: Head | None) -> list[Place]:
    found = follow(write(folder, files), head)
    return [(Path(each.file).name, each.line, each.kind) for each in found.problems]


def test_a_whole_chain_over_rotations_is_whole_in_whatever_order_files_are_named(tmp_path: Path) -> None:
    files, head = chain()
    paths = write(tmp_path, files)
    found = follow(paths[::-1], head)
    assert found.problems == []
    assert (found.lines, found.first_seq, found.last_seq) == (3 * EACH, 1, 3 * EACH)
    (tmp_path / "audit.log.gone").write_text("not one of ours")
    (tmp_path / "audit.log-other").write_text("nor this")
    assert forerunners(tmp_path / "audit.log") == paths


def test_old_files_may_be_gone_but_not_old_lines(tmp_path: Path) -> None:
    files, head = chain()
    paths = write(tmp_path, files)
    assert follow(paths[1:], head).problems == []
    del files[0][0]
    assert broken(tmp_path, files, head) == [("audit.log.2.gz", 1, "missing")]


@pytest.mark.parametrize("file", range(3))
@pytest.mark.parametrize("line", range(EACH))
def test_a_line_that_is_removed_is_missed_at_its_place(tmp_path: Path, file: int, line: int) -> None:
    files, head = chain()
    del files[file][line]
    found = broken(tmp_path, files, head)
    if line == EACH - 1:  # the last of a file: missed at the beginning of the next, or at the end
        assert found == ([(NAMES[file + 1], 1, "missing")] if file < 2 else [(NAMES[2], EACH - 1, "cut_off")])
    else:
        assert found == [(NAMES[file], line + 1, "missing")]


def test_lines_that_changed_places_are_named(tmp_path: Path) -> None:
    files, head = chain()
    files[1][1], files[1][2] = files[1][2], files[1][1]
    assert broken(tmp_path, files, head) == [("audit.log.1", 2, "missing"), ("audit.log.1", 3, "out_of_place")]


def test_a_line_that_was_put_in_is_named_alone(tmp_path: Path) -> None:
    files, head = chain()
    files[1].insert(2, b'{"seq":99,"entry":"forged"}\n')
    assert broken(tmp_path, files, head) == [("audit.log.1", 3, "changed")]
    files[1][2] = files[0][1]
    assert broken(tmp_path, files, head) == [("audit.log.1", 3, "out_of_place")]


def test_a_line_that_was_made_anew_with_a_right_digest_is_named(tmp_path: Path) -> None:
    files, head = chain()
    before = parse(files[1][1]).head
    files[1][2] = seal(before, before.event + 1, {"event": "backup.deleted", "actor": "somebody else"})[0]
    assert broken(tmp_path, files, head) == [("audit.log.1", 3, "replaced")]


def test_an_end_that_was_made_anew_is_told_from_the_catalog_alone(tmp_path: Path) -> None:
    files, head = chain()
    before = parse(files[2][-2]).head
    files[2][-1] = seal(before, before.event + 1, {"event": "nothing.happened"})[0]
    assert broken(tmp_path, files, None) == []
    assert broken(tmp_path, files, head) == [("audit.log", EACH, "replaced")]
    files[2] = files[2][:1]
    assert broken(tmp_path, files, None) == []
    assert broken(tmp_path, files, head) == [("audit.log", 1, "cut_off")]


def test_a_line_that_breaks_off_is_named(tmp_path: Path) -> None:
    files, head = chain()
    files[2][-1] = files[2][-1][:-1]
    assert broken(tmp_path, files, head)[0] == ("audit.log", EACH, "changed")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_one_changed_byte_anywhere_is_found_in_its_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    files, head = chain()
    file = data.draw(st.integers(0, 2))
    line = data.draw(st.integers(0, EACH - 1))
    raw = bytearray(files[file][line])
    at = data.draw(st.integers(0, len(raw) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda value: value != raw[at]))
    raw[at] = new
    files[file][line] = bytes(raw)
    found = broken(tmp_path_factory.mktemp("chain"), files, head)
    assert (NAMES[file], line + 1, "changed") in found


def test_encrypted_lines_must_open(tmp_path: Path) -> None:
    head = Head(catalog="c")
    first, head = seal(head, 0, {"event": "audit.opened"}, opened="2026-01-01")
    token, head = seal(head, 1, "token of another key")
    path = tmp_path / "audit.log"
    path.write_bytes(first + token)

    def opener(text: str) -> str:
        raise ValueError(f"no key for {text[:5]}")

    found = ChainCheck(head, opener)
    for number, raw in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        found.feed(str(path), number, raw)
    found.finish()
    assert [(each.line, each.kind) for each in found.problems] == [(2, "locked")]
    assert follow([path], head).problems == []


def test_a_file_that_cannot_be_unpacked_says_so(tmp_path: Path) -> None:
    (tmp_path / "audit.log.1.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(StorageError) as refused:
        follow([tmp_path / "audit.log.1.gz"], None)
    assert refused.value.code == "audit_unreadable"
