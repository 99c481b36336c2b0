"""Servers that lie, hang, flood and ask for files: each ends in an error with a code, soon, and gets nothing of ours."""

from __future__ import annotations

import resource
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engines.rig import Rig, instance_of
from tests.security.fake_servers import FakeServer, Talk, Wire
from vya_backupd.client import shown
from vya_backupd.engines import conninfo
from vya_backupd.errors import VyaError
from vya_backupd.model.instance import EngineKind, Instance, Tls, TlsMode
from vya_backupd.model.secret import Secret
from vya_backupd.probe import Probe, bounded
from vya_backupd.testing.servers import PrivateServer

SECRET = "the content of a file of this machine"
ESCAPES = "\x1b[2J\x1b]0;owned\x07\r\n\u202efake: ok"


def instance(kind: EngineKind, port: int) -> Instance:
    return Instance(
        id="fake", kind=kind, host="127.0.0.1", port=port, socket=None, username="u", password=Secret("pass word"),
        tls=Tls(mode=TlsMode.DISABLE),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conninfo, "CONNECT_TIMEOUT", 1)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """The process may take half a gigabyte of address space beyond what it has."""
    before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (before + (512 << 20), old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, old)


def endless(piece: bytes) -> Talk:
    def talk(wire: Wire) -> None:
        while True:
            wire.send(piece)

    return talk


def said(data: bytes) -> Talk:
    """Say this, and wait."""

    def talk(wire: Wire) -> None:
        wire.send(data)
        while wire.read(1):
            pass

    return talk


def after_greeting(kind: EngineKind, answer: Callable[[Wire], None]) -> Talk:
    """Let them in, then give each question this answer."""

    def talk(wire: Wire) -> None:
        if kind is EngineKind.POSTGRESQL:
            wire.greet_postgresql()
        else:
            wire.greet_mysql("8.4.0", b"mysql_native_password")
        while True:
            wire.take_message() if kind is EngineKind.POSTGRESQL else wire.take_packet()
            answer(wire)

    return talk


PG, MY = EngineKind.POSTGRESQL, EngineKind.MYSQL
PG_ERROR = b"SFATAL\0C28P01\0M" + ESCAPES.encode() + b"\0\0"
PG_NOTICE = b"N" + struct.pack(">I", 4 + 7) + b"Mhello\0"
MY_ERROR = b"\xff" + struct.pack("<H", 1045) + b"#28000" + ESCAPES.encode()

TALKS: dict[str, tuple[EngineKind, Talk]] = {
    "postgresql says nothing": (PG, said(b"")),
    "postgresql never ends its greeting": (PG, endless(PG_NOTICE * 500)),
    "postgresql says garbage": (PG, endless(b"\x00\xff" * 4000)),
    "postgresql sends a huge message": (PG, said(b"E" + struct.pack(">I", 0x7FFFFFFF))),
    "postgresql asks for an unknown login": (PG, said(b"R" + struct.pack(">II", 8, 4711))),
    "postgresql refuses with escapes": (PG, said(b"E" + struct.pack(">I", len(PG_ERROR) + 4) + PG_ERROR)),
    "postgresql answers with nothing": (PG, after_greeting(PG, lambda wire: wire.message(b"Z", b"I"))),
    "postgresql answers in words": (PG, after_greeting(PG, lambda wire: wire.rows((ESCAPES, "x", "y")))),
    "postgresql answers too little": (PG, after_greeting(PG, lambda wire: wire.rows(("1",)))),
    "postgresql hangs up": (PG, after_greeting(PG, lambda wire: wire.sock.close())),
    "mysql says nothing": (MY, said(b"")),
    "mysql never ends its greeting": (MY, endless(b"\xff\xff\xff\x00" + bytes(4096))),
    "mysql says garbage": (MY, said(b"\x05\0\0\0hello")),
    "mysql is of no version": (MY, said(b"\x02\0\0\0\x0a\0")),
    "mysql refuses with escapes": (MY, said(len(MY_ERROR).to_bytes(3, "little") + b"\0" + MY_ERROR)),
    "mysql asks for a password in clear": (MY, said(b"")),
    "mysql answers with garbage": (MY, after_greeting(MY, lambda wire: wire.packet(b"\xfe\xfd\xfc\x01\x02", 1))),
    "mysql answers out of order": (MY, after_greeting(MY, lambda wire: wire.packet(b"\0\0\0\x02\0\0\0", 77))),
    "mysql hangs up": (MY, after_greeting(MY, lambda wire: wire.sock.close())),
}


def switch_to_clear(wire: Wire) -> None:
    """Ask for the password as it is: without TLS nobody may give it."""
    wire.packet(
        b"\x0a8.4.0\0" + struct.pack("<I", 7) + b"a" * 8 + b"\0\xff\xf7\x2d\x02\0\xff\xc1\x15" + bytes(10) + b"b" * 12
        + b"\0mysql_native_password\0", 0,
    )  # fmt: skip
    wire.take_packet()
    wire.packet(b"\xfemysql_clear_password\0", 2)
    while wire.take_packet():
        pass


TALKS["mysql asks for a password in clear"] = (MY, switch_to_clear)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", TALKS)
async def test_a_hostile_server_is_an_error_with_a_code(name: str) -> None:
    kind, talk = TALKS[name]
    with FakeServer(talk) as server:
        with pytest.raises(VyaError) as told:
            await Probe().server(instance(kind, server.port))
        assert told.value.code != "internal"
        assert told.value.instance == "fake"
        assert shown.harmless(told.value.message).isprintable() or "\n" in told.value.message
        assert len(told.value.message) < 4000
        assert b"pass word" not in server.heard


def rows_without_end(wire: Wire) -> None:
    """PostgreSQL: one column, and never the last row."""
    wire.message(b"T", struct.pack(">H", 1) + b"c\0" + struct.pack(">IHIhih", 0, 0, 25, -1, -1, 0))
    row = b"D" + struct.pack(">IHI", 4 + 2 + 4 + 50_000, 1, 50_000) + b"x" * 50_000
    while True:
        wire.send(row * 20)


def packets_without_end(wire: Wire) -> None:
    """The same of MySQL."""
    wire.packet(b"\x01", 1)
    column = b"\x03def\0\0\0\x01c\0\x0c" + struct.pack("<HIBHB", 45, 1000, 253, 0, 0) + b"\0\0"
    wire.packet(column, 2)
    wire.packet(b"\xfe\0\0\x02\0", 3)
    number = 4
    row = b"\xfd" + (50_000).to_bytes(3, "little") + b"x" * 50_000
    while True:
        wire.packet(row, number)
        number += 1


@pytest.mark.parametrize(("kind", "flood"), [(PG, rows_without_end), (MY, packets_without_end)])
async def test_an_answer_without_an_end_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, kind: EngineKind, flood: Callable[[Wire], None]
) -> None:
    monkeypatch.setattr(bounded, "LARGEST", 96 << 20)
    before = bounded._resident()
    with FakeServer(after_greeting(kind, flood)) as server, pytest.raises(VyaError, match="larger than 96 MiB"):
        await Probe().fetch(instance(kind, server.port), "SELECT 1")
    assert bounded._resident() - before < 768 << 20


def ask_for_a_file(path: Path, plugin: bytes) -> Talk:
    """Answer every statement with the wish for a file of the client's machine."""

    def talk(wire: Wire) -> None:
        wire.greet_mysql("8.4.0" if plugin.startswith(b"caching") else "5.5.5-10.11.2-MariaDB", plugin)
        while True:
            wire.take_packet()
            wire.packet(b"\xfb" + str(path).encode(), 1)
            wire.take_packet()
            wire.packet(b"\xff" + struct.pack("<H", 1064) + b"#42000no", 3)

    return talk


@pytest.mark.parametrize("who", ["probe", "dump", "client"])
async def test_nobody_gives_a_server_the_file_that_it_asks_for(
    mysql_family: PrivateServer, tmp_path: Path, who: str
) -> None:
    path = tmp_path / "credentials"
    path.write_text(SECRET)
    rig = await Rig(mysql_family, tmp_path).ready()
    kind = EngineKind(mysql_family.kind)
    plugin = b"caching_sha2_password" if kind is EngineKind.MYSQL else b"mysql_native_password"
    with FakeServer(ask_for_a_file(path, plugin)) as server:
        fake = replace(instance_of(mysql_family), host="127.0.0.1", port=server.port, tls=Tls(mode=TlsMode.DISABLE))
        if who == "probe":
            with pytest.raises(VyaError):
                await rig.probe.fetch(fake, "SELECT 1")
        else:
            make: Any = {"dump": rig.engine.dump_command, "client": rig.engine.client_command}[who]
            done = await rig.spawner.run(make(fake, "x", rig.tools, rig.facts), b"SELECT 1;\n", timeout=60)
            assert not done.exit.ok
        assert server.heard, "nobody came"
        assert SECRET.encode() not in server.heard


@pytest.mark.parametrize("version", ["99999999999999999999.1", "15\x1b[2J", "", "9" * 5000, "../../etc"])
async def test_a_version_that_is_a_lie_is_no_more_than_that(version: str) -> None:
    def answer(wire: Wire) -> None:
        wire.rows((version, version, "t"))

    with FakeServer(after_greeting(PG, answer)) as server, pytest.raises(VyaError):
        await Probe().server(instance(PG, server.port))
