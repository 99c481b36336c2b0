from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vya_backupd.errors import ToolError
from vya_backupd.testing import provision
from vya_backupd.testing.account import Account
from vya_backupd.testing.apt import PackageFolder, write_wrappers
from vya_backupd.testing.discover import find_servers, missing_servers

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt-get here: this is how Debian does it")


@needs_apt
def test_an_unpacked_program_runs_with_its_own_libraries(tmp_path: Path) -> None:
    root = tmp_path / "root"
    try:
        PackageFolder(None).unpack(["hello"], root)
    except ToolError as error:
        if "Failed to fetch" in error.message or "Could not" in error.message or "Unable to locate" in error.message:
            pytest.skip(f"the package mirror does not answer or has no such package: {error.message[:200]}")
        raise
    write_wrappers(root, tmp_path / "bin", {"hello": "usr/bin/hello"}, {"hello": ["--greeting=two words"]})
    done = subprocess.run([tmp_path / "bin" / "hello"], capture_output=True, text=True, check=True)
    assert done.stdout == "two words\n"
    assert list(root.glob("**/libc.so.6")), "libc comes along, so the machine's own release does not matter"


@needs_apt
def test_a_package_that_does_not_exist_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"vya-no-such-package|Failed to fetch|Could not"):
        PackageFolder(None).unpack(["vya-no-such-package"], tmp_path / "root")


def test_provision_reports_what_is_there_and_fails_when_something_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "_STEPS", {})  # look, but install nothing from within a test
    had_by_root = set() if os.geteuid() == 0 else {"postgresql-15"}
    assert provision.main() == (1 if missing_servers().keys() - had_by_root else 0)
    said = capsys.readouterr().out
    for spec in find_servers():
        assert f"{spec.label:<15} {spec.version}" in said
    for label in missing_servers():
        assert f"{label:<15} MISSING" in said


def test_an_account_reaches_only_what_is_open_to_it(tmp_path: Path) -> None:
    account = Account.for_servers()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").touch()
    (closed / "file").chmod(0o644)
    assert account.reaches(Path("/usr/bin"))
    assert not account.reaches(tmp_path / "missing")
    assert account.reaches(closed / "file") is (os.geteuid() != 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends servers to another account")
def test_root_is_told_when_the_account_for_servers_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VYA_TEST_USER", "no-such-user-here")
    with pytest.raises(ToolError, match="no-such-user-here") as caught:
        Account.for_servers()
    assert "VYA_TEST_USER" in caught.value.hint
