"""The process dies at each step, and the system calls come in the order that a power cut demands."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.publisher import CONTENT
from tests.storage.samples import CODEC, PATH, manifest_for, publish
from vya_backupd.errors import ConfigError, StorageError
from vya_backupd.model.backup import StoredBackup
from vya_backupd.storage import LocalStore, Orphan

ROOT = Path(__file__).parents[2]
PLACEMENTS = ["link", "rename"]


def run(*arguments: str, trace: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.storage.publisher", *arguments]
    if trace is not None:
        calls = "trace=fsync,link,linkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdirat,write"
        command = ["strace", "-f", "-y", "-s", "64", "-e", calls, "-o", str(trace), *command]
    # A measured process writes its coverage at its end: those calls are not the store's.
    environ = {key: value for key, value in os.environ.items() if trace is None or not key.startswith("COVERAGE")}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=120)


def restarted(folder: Path) -> LocalStore:
    store = LocalStore(folder / "backups", CODEC)
    store.prepare()
    store.finish_tombstones()
    return store


def files(folder: Path) -> set[str]:
    return {each.name for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("step", ["synced", "placed", "checksum", "manifest"])
async def test_a_publisher_killed_after_any_step_leaves_nothing_or_everything(
    tmp_path: Path, step: str, placement: str
) -> None:
    done = run(str(tmp_path), "publish", step, placement)
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = restarted(tmp_path)
    assert files(store.temp_path) == set()
    found = list(store.list())
    if step == "synced":
        assert found == []
        assert files(store.base_path) == set()
    elif step == "manifest":
        (entry,) = found
        assert isinstance(entry, StoredBackup)
        assert (store.base_path / entry.path).read_bytes() == CONTENT
    else:
        assert found == [Orphan(PATH, len(CONTENT))]
        assert (store.base_path / PATH).read_bytes() == CONTENT
    # Whatever was left, the same backup can be made again and stands beside it.
    again = await publish(store, CONTENT, PATH, manifest_for(CONTENT, "b2"))
    assert again in list(store.list())
    assert (again.path == PATH) == (step == "synced")


@pytest.mark.parametrize("step", ["tombstone", "emptied", "deleted"])
async def test_a_deletion_killed_after_any_step_is_ended_by_the_next_start(tmp_path: Path, step: str) -> None:
    kept = await publish(restarted(tmp_path), b"kept", "site/kept.sql.gz", manifest_for(b"kept", "kept"))
    await publish(restarted(tmp_path), CONTENT, PATH, manifest_for(CONTENT))
    done = run(str(tmp_path), "delete", step)
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = restarted(tmp_path)
    assert list(store.list()) == [kept]
    assert files(store.base_path) == {"kept.sql.gz", "kept.sql.gz.sha256", "kept.sql.gz.metadata.json"}


needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is missing; get it by: apt-get install strace"
)


def calls_of(trace: Path) -> list[str]:
    """Successful calls after the store was ready, as ``call:what``: the file's role in place of its path."""
    roles = [
        (r"\.partial>|vya-b1\.partial", "partial"),
        (r"\.sidecar", "sidecar"),
        (r"full\.sql\.gz\.metadata\.json\.deleting", "tombstone"),
        (r"full\.sql\.gz\.metadata\.json", "manifest"),
        (r"full\.sql\.gz\.sha256", "checksum"),
        (r"full\.sql\.gz", "data"),
        (r"/2026-01-09>", "folder"),
    ]
    found: list[str] = []
    ready = False
    for line in trace.read_text().splitlines():
        call = re.match(r"\d+\s+(\w+)\((.*)\)\s+= \d+", line)
        if call is None:
            continue
        name, arguments = call.groups()
        ready = ready or '"prepared' in arguments
        named = [role for pattern, role in roles if re.search(pattern, arguments)]
        quoted = re.findall(r'"([^"]*)"', arguments) if name.startswith(("link", "rename")) else []
        if quoted:
            named = [next((role for pattern, role in roles if re.search(pattern, text)), "?") for text in quoted]
        if ready and named:
            found.append(f"{name.rstrip('2').removesuffix('at')}:{'>'.join(named if quoted else named[:1])}")
    return found


def without_repeats(calls: list[str]) -> list[str]:
    return [call for number, call in enumerate(calls) if number == 0 or calls[number - 1] != call]


@needs_strace
def test_system_calls_of_publishing_come_in_the_order_that_a_power_cut_demands(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    done = run(str(tmp_path), "publish", "never", trace=trace)
    assert done.returncode == 0, done.stderr
    assert without_repeats(calls_of(trace)) == [
        "write:partial",
        "fsync:partial",
        "link:partial>data",
        "fsync:folder",
        "write:sidecar",
        "fsync:sidecar",
        "link:sidecar>checksum",
        "fsync:folder",
        "unlink:sidecar",
        "write:sidecar",
        "fsync:sidecar",
        "link:sidecar>manifest",
        "fsync:folder",
        "unlink:sidecar",
        "unlink:partial",
    ]


@needs_strace
def test_new_folders_are_on_disk_before_anything_is_placed_in_them(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    run(str(tmp_path), "publish", "never", trace=trace)
    lines = trace.read_text().splitlines()
    placed = next(number for number, line in enumerate(lines) if "link" in line and "full.sql.gz" in line)
    made = [number for number, line in enumerate(lines[:placed]) if "mkdirat(" in line and "backups" in line]
    assert len(made) == 4
    for number in made:
        parent = re.search(r"mkdirat\((\d+<[^>]*>)", lines[number])
        assert parent is not None
        following = lines[number + 1 : placed]
        assert any(f"fsync({parent[1]})" in line for line in following)


@needs_strace
async def test_system_calls_of_deleting_come_in_the_order_that_a_power_cut_demands(tmp_path: Path) -> None:
    await publish(restarted(tmp_path), CONTENT, PATH, manifest_for(CONTENT))
    trace = tmp_path / "trace"
    done = run(str(tmp_path), "delete", "never", trace=trace)
    assert done.returncode == 0, done.stderr
    assert without_repeats(calls_of(trace)) == [
        "rename:manifest>tombstone",
        "fsync:folder",
        "unlink:data",
        "unlink:checksum",
        "fsync:folder",
        "unlink:tombstone",
        "fsync:folder",
    ]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, gone with the test."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(
            f"a small file system cannot be mounted here: {done.stderr.strip()}; run as root, outside a sandbox"
        )
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


def fill(fd: int) -> None:
    while os.write(fd, bytes(4096)):
        pass


@pytest.mark.root
async def test_a_disk_that_fills_up_while_publishing_leaves_nothing_visible(mounted: Path) -> None:
    store = restarted(mounted)
    await publish(store, b"kept", "site/kept.sql.gz", manifest_for(b"kept", "kept"))
    partial = await store.new_partial("b1")
    with pytest.raises(OSError, match="No space"):
        fill(partial.fd)
    assert store.free_bytes() == 0
    with pytest.raises(StorageError) as caught:
        await store.publish(partial, PATH, manifest_for(b""))
    assert caught.value.code == "disk_full"
    with pytest.raises(StorageError) as caught:
        store.check()
    assert caught.value.code == "disk_full"
    store.abort(partial)
    store.check()
    (entry,) = store.list()
    assert isinstance(entry, StoredBackup)
    assert entry.id == "kept"


@pytest.mark.root
def test_two_mounts_of_one_file_system_are_refused(mounted: Path, tmp_path: Path) -> None:
    base, temp = mounted / "backups", mounted / "temp"
    elsewhere = tmp_path / "elsewhere"
    for each in (base, temp, elsewhere):
        each.mkdir()
    subprocess.run(["mount", "--bind", str(temp), str(elsewhere)], check=True)
    try:
        assert base.stat().st_dev == elsewhere.stat().st_dev
        with pytest.raises(ConfigError) as caught:
            LocalStore(base, CODEC, temp_path=elsewhere).prepare()
        assert caught.value.code == "storage_layout"
        assert files(mounted) == set()
    finally:
        subprocess.run(["umount", "-l", str(elsewhere)], check=False)


@pytest.mark.root
async def test_a_read_only_disk_says_so(mounted: Path) -> None:
    store = restarted(mounted)
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    for act in (store.check, store.prepare):
        with pytest.raises(StorageError) as caught:
            act()
        assert caught.value.code == "storage_unwritable"
        assert "remount" in caught.value.hint
