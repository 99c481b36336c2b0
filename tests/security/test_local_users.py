"""Another user of the machine, who makes things before us, beside us and in our place.

What he makes is made by root and given to him: to whoever finds it, that is the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.storage.samples import CODEC, manifest_for, publish
from tests.waiting import until
from vya_backupd.api.listen import bind_unix
from vya_backupd.config.private_file import create_private, read_private, replace_private
from vya_backupd.daemon.lock import StateLock
from vya_backupd.engines.tools import ToolRole
from vya_backupd.errors import ConfigError, StorageError, ToolError, VyaError
from vya_backupd.observe.audit_chain import Head
from vya_backupd.observe.audit_file import AuditFile
from vya_backupd.observe.log import LogSettings, configure_logging
from vya_backupd.ownership import open_to_append
from vya_backupd.process import ToolFinder, ToolSearch
from vya_backupd.process.spawn import Spawner
from vya_backupd.storage.local import LocalStore
from vya_backupd.storage.partials import TempFolder
from vya_backupd.testing.product import Product

STRANGER = 65534
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="a second user, or a look into the daemon, is needed: run as root"
)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp: everybody may write, and nobody removes what is another's."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file that must not be changed."""
    path = tmp_path / "victim"
    path.write_text("untouched")
    path.chmod(0o600)
    yield path
    assert path.read_text() == "untouched"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_uid == os.geteuid()


def store(folder: Path) -> LocalStore:
    return LocalStore(folder / "backups", CODEC, temp_path=folder / "partial")


def audit(path: Path) -> None:
    file = AuditFile(path, lambda: "now")
    try:
        file.append(Head(catalog="c"), [(1, {"event": "x"})])
    finally:
        file.close()


FOLDERS: dict[str, Callable[[Path], object]] = {
    "state": lambda folder: StateLock(folder / "state").acquire(),
    "backups": lambda folder: store(folder).prepare(),
    "partial": lambda folder: store(folder).prepare(),
}
FILES: dict[str, Callable[[Path], object]] = {
    "log": lambda path: os.close(open_to_append(path, 0o640)),
    "audit": audit,
    "lock": lambda path: StateLock(path.parent).acquire(),
    "control.sock": lambda path: bind_unix(path).close(),
}


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_folder_that_everybody_may_write_into_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name).chmod(mode)
    with pytest.raises(ConfigError, match="everybody may write") as told:
        FOLDERS[name](tmp_path)
    assert told.value.code == "folder_open"
    assert f"chmod o-w {tmp_path / name}" in (told.value.hint or "")


@needs_root
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_somebody_made_before_us_is_refused(shared: Path, name: str) -> None:
    (shared / name).mkdir(mode=0o700)
    os.chown(shared / name, STRANGER, STRANGER)
    with pytest.raises(ConfigError, match=f"belongs to user {STRANGER}"):
        FOLDERS[name](shared)
    assert list((shared / name).iterdir()) == []


@needs_root
@pytest.mark.parametrize("name", FOLDERS)
def test_a_link_to_somebody_s_folder_is_refused(shared: Path, name: str) -> None:
    theirs = shared / "theirs"
    theirs.mkdir()
    os.chown(theirs, STRANGER, STRANGER)
    (shared / name).symlink_to(theirs)
    with pytest.raises(VyaError):
        FOLDERS[name](shared)
    assert list(theirs.iterdir()) == []


@needs_root
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "fifo", "directory", "hard link"])
def test_what_somebody_put_in_the_place_of_a_file_is_not_written(
    shared: Path, victim: Path, name: str, kind: str
) -> None:
    path = shared / name
    match kind:
        case "file":
            path.touch()
        case "link":
            path.symlink_to(victim)
        case "dangling link":
            path.symlink_to(shared / "made")
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "hard link":
            theirs = shared / "theirs"
            theirs.touch()
            os.chown(theirs, STRANGER, STRANGER)
            os.link(theirs, path)
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises((VyaError, OSError)):
        FILES[name](path)
    assert not (shared / "made").exists()
    assert path.lstat().st_uid == STRANGER
    assert kind not in ("file", "hard link") or path.stat().st_size == 0


def test_links_of_our_own_are_followed_by_the_log(tmp_path: Path) -> None:
    """Whoever writes to /dev/stdout, or moved his logs away, goes on."""
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with os.fdopen(open_to_append(tmp_path / "log", 0o640), "w") as file:
        file.write("x")
    assert (tmp_path / "elsewhere").read_text() == "x"


@needs_root
def test_a_log_of_somebody_else_is_a_mistake_of_the_configuration(shared: Path) -> None:
    path = shared / "daemon.log"
    path.touch()
    os.chown(path, STRANGER, STRANGER)
    with pytest.raises(ConfigError, match="cannot write the log file"):
        configure_logging(LogSettings(output="file", file_path=path))


async def test_files_that_look_like_leftovers_and_are_none_stop_no_start(tmp_path: Path, victim: Path) -> None:
    made = store(tmp_path)
    made.prepare()
    (made.temp_path / "vya-link.partial").symlink_to(victim)
    (made.temp_path / "vya-folder.partial").mkdir()
    os.mkfifo(made.temp_path / "vya-pipe.partial")
    made.prepare()
    assert (made.temp_path / "vya-link.partial").is_symlink()
    with pytest.raises(StorageError):
        TempFolder(made.temp_path).create("link", "partial")
    assert (await publish(made)).path


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
async def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "ours"
    folder.mkdir()
    old = os.umask(umask & 0o077)  # bits of the owner would stop anybody
    try:
        made = store(folder)
        made.prepare()
        stored = await publish(made, manifest=manifest_for(b"data"))
        create_private(folder / "key", b"x")
        replace_private(folder / "credentials", b"x")
        Spawner(folder / "run")
        bind_unix(folder / "c.sock").close()
        with StateLock(folder / "state"):
            pass
        audit(folder / "audit")
    finally:
        os.umask(old)
    wanted = {"partial": 0o700, "run": 0o700, "state": 0o700, "key": 0o600, "credentials": 0o600, "c.sock": 0o660}
    for name, mode in (wanted | {"audit": 0o600, "state/lock": 0o600}).items():
        assert stat.S_IMODE((folder / name).stat().st_mode) & ~mode == 0, name
    data = made.absolute(stored.path)
    assert all(
        not stat.S_IMODE(path.stat().st_mode) & 0o027 for path in data.parents if path.is_relative_to(made.base_path)
    )
    assert all(not stat.S_IMODE(path.stat().st_mode) & 0o137 for path in data.parent.iterdir())


@needs_root
def test_a_secret_that_is_exchanged_while_it_is_read_is_judged_by_what_was_opened(shared: Path) -> None:
    """A link to our own key, made by somebody in a folder of everybody: what it leads to is ours alone, and is read; a
    file of his is not, however closed it is."""
    theirs = shared / "key"
    theirs.write_text("x")
    theirs.chmod(0o600)
    os.chown(theirs, STRANGER, STRANGER)
    with pytest.raises(ConfigError) as told:
        read_private(theirs)
    assert told.value.code == "credentials_mode"


PEEK = """
import os, sys
pid = sys.argv[1]
for name in ("environ", "mem", "maps", "fd/0", "cwd"):
    try:
        path = f"/proc/{pid}/{name}"
        os.readlink(path) if name in ("fd/0", "cwd") else open(path, "rb").read(1)
    except PermissionError:
        print(name, "closed")
    except OSError:
        print(name, "open")
    else:
        print(name, "open")
"""


@needs_root
def test_nobody_of_the_same_user_looks_into_the_daemon(tmp_path: Path) -> None:
    """The daemon runs as an ordinary user, and so does somebody who took over one of its tools."""
    dressed = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--", sys.executable, "-c"]
    hardened = "from vya_backupd.daemon.lifecycle import harden; harden(); print(open('/proc/self/smaps').read(1), flush=True); input()"
    for program, expected in ((hardened, "closed"), ("print('-', flush=True); input()", "open")):
        with subprocess.Popen([*dressed, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemon:
            assert daemon.stdout is not None
            daemon.stdout.readline()
            seen = subprocess.run([*dressed, PEEK, str(daemon.pid)], capture_output=True, text=True, check=True).stdout
            daemon.communicate("\n")
        assert {line.split()[1] for line in seen.splitlines()} == {expected}, seen


@needs_root
def test_secrets_leave_the_environment_and_serve_a_reload(tmp_path: Path) -> None:
    """Also what the kernel keeps of it, and what a second reading finds."""
    secrets = {"SMTP_SECRET": "planted-smtp-secret", "VYA_NOTIFICATIONS__EMAIL__USERNAME": "planted-user"}
    email = {
        "enabled": True,
        "smtp_host": "127.0.0.1",
        "password": "env:SMTP_SECRET",
        "from_address": "a@example.org",
        "error_recipients": ["b@example.org"],
    }
    product = Product(tmp_path, [], config={"notifications": {"email": email}}, environ=secrets)
    with product:
        until(lambda: product.events("daemon.ready"))  # only then it hears signals
        environ = Path(f"/proc/{product.process.pid}/environ").read_bytes()
        assert b"planted" not in environ
        assert b"PATH=" in environ
        product.settings["backup"]["attempts"] = 2
        product.write_config()
        product.signal(signal.SIGHUP)
        until(lambda: product.events("config.reloaded") or product.events("config.reload_refused"))
        assert product.events("config.reload_refused") == []
        assert b"planted" not in Path(f"/proc/{product.process.pid}/environ").read_bytes()


@needs_root
def test_a_daemon_refuses_what_others_could_exchange_and_says_what_lies_above(tmp_path: Path) -> None:
    root = tmp_path / "open"
    product = Product(root, [])
    product.state_dir.mkdir()
    product.state_dir.chmod(0o777)
    product.start(wait=False)
    assert product.process.wait(60) == 78
    assert "folder_open" in product.log() or "everybody may write" in product.log()
    product.state_dir.chmod(0o700)
    root.chmod(0o777)
    with product:
        assert [event["folder"] for event in product.events("folder.open_to_all")] == [str(root)]


def test_a_socket_of_somebody_who_answers_is_left_to_him(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ConfigError, match="another program answers"), contextlib.closing(bind_unix(path)):
            pass


@pytest.mark.parametrize(("program", "folder"), [(0o757, 0o755), (0o755, 0o757)])
async def test_a_program_that_everybody_may_change_is_not_run(tmp_path: Path, program: int, folder: int) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    path = place / "psql"
    path.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho 'psql (PostgreSQL) 99.1'\n")
    path.chmod(program)
    place.chmod(folder)
    spawner = Spawner(tmp_path / "run")
    found = await ToolFinder(spawner, ToolSearch(folders=(place,))).installed_tools()
    assert path not in {tool.path for tool in found}
    with pytest.raises(ToolError, match="changed by everybody"):
        await ToolFinder(spawner, ToolSearch(programs={path: ToolRole.CLIENT})).installed_tools()
    assert not (tmp_path / "ran").exists()
