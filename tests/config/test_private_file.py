"""Who may read a secret file, and what a crash leaves of one that is being written."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from vya_backupd.config import private_file
from vya_backupd.config.private_file import create_private, read_private, replace_private
from vya_backupd.errors import ConfigError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of other users")


def secret(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text("s3cret")
    path.chmod(mode)
    return path


def refusal(path: Path, *, allow_group: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        read_private(path, allow_group=allow_group)
    assert caught.value.exit_code == 78
    assert caught.value.hint
    return caught.value.code


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_ours_alone_is_read(tmp_path: Path, mode: int) -> None:
    assert read_private(secret(tmp_path, mode)) == b"s3cret"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o601, 0o660])
def test_what_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    assert refusal(secret(tmp_path, mode)) == "credentials_mode"


def test_a_symbolic_link_is_judged_by_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(secret(tmp_path))
    assert read_private(tmp_path / "link") == b"s3cret"
    secret(tmp_path, 0o644)
    assert refusal(tmp_path / "link") == "credentials_mode"


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "none"):
        assert refusal(path) == "credentials_not_found"
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(private_file.SIZE_LIMIT + 1)
    assert refusal(tmp_path / "huge") == "credentials_not_found"


def test_systemd_hands_over_with_a_readable_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "handed-over"
    folder.mkdir()
    path = secret(folder, 0o440)
    assert refusal(path) == "credentials_mode"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert read_private(path) == b"s3cret"
    path.chmod(0o444)
    assert refusal(path) == "credentials_mode"
    (folder / "out").symlink_to(secret(tmp_path, 0o440))
    assert refusal(folder / "out") == "credentials_mode"


@needs_root
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = secret(tmp_path)
    os.chown(path, 65534, 65534)
    assert refusal(path) == "credentials_mode"


@needs_root
def test_a_root_owned_file_of_a_group_of_ours_where_allowed(tmp_path: Path) -> None:
    path = secret(tmp_path, 0o440)
    os.chown(path, 0, os.getegid())
    assert refusal(path) == "credentials_mode"
    assert read_private(path, allow_group=True) == b"s3cret"
    os.chown(path, 0, 54321)
    assert refusal(path, allow_group=True) == "credentials_mode"
    path.chmod(0o444)
    assert refusal(path, allow_group=True) == "credentials_mode"


@needs_root
def test_root_who_rewrites_leaves_the_owner(tmp_path: Path) -> None:
    path = secret(tmp_path)
    os.chown(path, 65534, 65534)
    replace_private(path, b"new")
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (65534, 0o600)


def test_writing_makes_private_files_and_folders_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        assert create_private(tmp_path / "new/key", b"1")
        replace_private(tmp_path / "new/other", b"2")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()] == [0o600, 0o600]
    assert not create_private(tmp_path / "new/key", b"3")
    assert (tmp_path / "new/key").read_bytes() == b"1"
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = secret(tmp_path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        replace_private(path, b"new")
    assert path.read_bytes() == b"s3cret"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = secret(tmp_path)
    child = os.fork()
    if child == 0:
        os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)  # noqa: ARG005  called by this name
        replace_private(path, b"new")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert path.read_bytes() == b"s3cret"
