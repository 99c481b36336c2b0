r"""Dumps that try to get commands run by whoever restores them: here, on the machine of the daemon.

What a dump does on the server, with the rights of the account that restores it, is its business; no program of this
machine may be started, and no file of it read or written.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool
from tests.engines.rig import Rig
from tests.security.forge import whole
from vya_backupd.client.transport import ControlClient
from vya_backupd.engines.postgresql_guard import RestrictLines, guards, refuse_unguarded, unrestricted
from vya_backupd.engines.tools import Tool, ToolRole
from vya_backupd.errors import ToolError
from vya_backupd.model.backup import Section
from vya_backupd.model.instance import EngineKind
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

HEAD = b"--\n-- PostgreSQL database dump\n--\n\n"
KEY = b"5tVsYzXxvOmd9fUv0jBhzEXWgG1eKsGnl8hBnJdVzlTkZkH7Bz0LWG7rWfkK3Rd"
RESTRICT, UNRESTRICT = b"\\restrict " + KEY + b"\n", b"\\unrestrict " + KEY + b"\n"
END = b"--\n-- PostgreSQL database dump complete\n--\n\n"

PSQL = [
    "\\! touch {mark}",
    "SELECT 1 \\! touch {mark}",
    "SELECT 1 \\g |touch {mark}",
    "SELECT 'touch {mark}' \\g | sh",
    "\\o |touch {mark}",
    "\\w {mark}",
    "\\set x `touch {mark}`",
    "\\setenv PAGER 'touch {mark}'\n\\! true > {mark}",
    "\\copy (SELECT 1) TO '{mark}'",
    "\\copy t FROM PROGRAM 'touch {mark}'",
    "\\i {script}",
    "\\ir {script}",
    "\\include {script}",
    "\\connect postgres\n\\! touch {mark}",
    "\\restrict abc\n\\unrestrict abc\n\\! touch {mark}",
    "\\unrestrict abc\n\\! touch {mark}",
    "COPY t FROM stdin;\n1\n\\.\n\\! touch {mark}",
    "SELECT $$\n$$ \\! touch {mark}",
    "/* \n*/ \\! touch {mark}",
    "-- \n\\! touch {mark}",
    "\\lo_export 1 '{mark}'",
    "\\if true\n\\! touch {mark}\n\\endif",
    "SELECT 'touch {mark}' AS c \\gset\n\\! :c",
    "SELECT '\\! touch {mark}' \\gexec",
    "\\e\n",
]
MYSQL = [
    "\\! touch {mark}",
    "SELECT 1 \\! touch {mark}",
    "system touch {mark}",
    "SYSTEM touch {mark};",
    "source {script}",
    "\\. {script}",
    "tee {mark}",
    "\\T {mark}",
    "pager touch {mark}\nSELECT 1;",
    "\\P touch {mark}\nSELECT 1;",
    "edit\n",
    "\\e\n",
    "DELIMITER //\nsystem touch {mark}//\n",
    "/*!999999\\- */ system touch {mark}",
    "LOAD DATA LOCAL INFILE '{script}' INTO TABLE t;\nSELECT * FROM t INTO OUTFILE '{mark}';",
]


@pytest.fixture
def traps(tmp_path: Path) -> dict[str, str]:
    """A file that must not come into being, and one that would make it if a client read it."""
    script = tmp_path / "script"
    script.write_text(f"\\! touch {tmp_path}/mark\n")
    return {"mark": str(tmp_path / "mark"), "script": str(script)}


async def test_no_line_of_a_dump_starts_a_program_or_opens_a_file(
    server: PrivateServer, tmp_path: Path, fresh_name: str, traps: dict[str, str]
) -> None:
    rig = await Rig(server, tmp_path).ready()
    await rig.create(fresh_name, "CREATE TABLE t (a text)")
    try:
        for line in PSQL if server.kind == "postgresql" else MYSQL:
            text = line.format(**traps).encode()
            done = await rig.feed(fresh_name, b"SELECT 1;\n" + text + b"\nSELECT 2;\n")
            assert not done.exit.ok, line
            assert not Path(traps["mark"]).exists(), line
    finally:
        await rig.drop(fresh_name)


async def test_no_server_gets_a_file_of_this_machine(
    mysql_family: PrivateServer, tmp_path: Path, fresh_name: str
) -> None:
    """Also where the server would take it: ``local_infile`` is on."""
    secret = tmp_path / "credentials.json"
    secret.write_text("a secret of this machine\n")
    secret.chmod(0o644)
    rig = await Rig(mysql_family, tmp_path).ready()
    (before,) = mysql_family.sql("SELECT @@global.local_infile")
    mysql_family.sql("SET GLOBAL local_infile = 1")
    try:
        await rig.create(fresh_name, "CREATE TABLE t (a text)")
        done = await rig.feed(fresh_name, f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE t;\n".encode())
        assert not done.exit.ok
        assert mysql_family.sql("SELECT COUNT(*) FROM t", fresh_name) == [("0",)]
    finally:
        mysql_family.sql(f"SET GLOBAL local_infile = {before[0]}")
        await rig.drop(fresh_name)


def pieces(text: bytes, size: int) -> bytes:
    """The text after it passed in pieces of this size."""
    lines = RestrictLines()
    return b"".join(lines.feed(text[at : at + size]) for at in range(0, len(text), size)) + lines.finish()


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 1 << 20])
def test_only_the_dump_s_own_restriction_is_taken_out(size: int) -> None:
    rows = b"COPY t FROM stdin;\n\\\\unrestrict x\n\\N\n\\.\n" + b"".join(b"SELECT %d;\n" % n for n in range(500))
    other = b"CREATE FUNCTION f() AS $$\n\\restrict abc\n\\unrestrict abc\n$$;\n"
    assert pieces(HEAD + RESTRICT + rows + other + END + UNRESTRICT, size) == HEAD + rows + other + END
    assert pieces(HEAD + RESTRICT + rows + END + UNRESTRICT[:-1], size) == HEAD + rows + END
    untouched = HEAD + rows + RESTRICT + other + END + UNRESTRICT
    assert pieces(untouched, size) == untouched
    assert pieces(b"", size) == b""


def test_of_labelled_text_header_and_footer_alone_are_looked_at() -> None:
    lines, text = RestrictLines(), b"-- x\n" + RESTRICT + b"SET a = 1;\n"
    assert lines.feed(text, Section.HEADER) == unrestricted(text) == b"-- x\nSET a = 1;\n"
    assert lines.feed(text, Section.DATA) == text
    assert lines.feed(END + UNRESTRICT, Section.FOOTER) == END
    assert lines.finish() == b""


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ((18, 0), True),
        ((19,), True),
        ((17, 6), True),
        ((17, 5), False),
        ((15, 14), True),
        ((15,), False),
        ((12, 99), False),
    ],
)
def test_a_psql_without_restricted_mode_gets_no_files_of_others(version: tuple[int, ...], known: bool) -> None:
    tool = Tool(Path("/usr/bin/psql"), EngineKind.POSTGRESQL, ToolRole.CLIENT, version, "")
    assert guards(tool) is known
    if known:
        refuse_unguarded(tool)
        return
    with pytest.raises(ToolError, match="not of our store") as told:
        refuse_unguarded(tool)
    assert "15.14" in (told.value.hint or "")


@pytest.fixture(scope="module")
def product(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    servers = [server_pool.get(kind) for kind in ("postgresql", "mariadb")]
    entries = [instance(server, server.kind, database="none") for server in servers]
    with Product(tmp_path_factory.mktemp("hostile"), entries, servers=servers) as made:
        yield made


def restored(product: Product, path: Path, kind: str, target: str, **more: Any) -> dict[str, Any]:
    """The outcome of a restore of this file."""
    client = ControlClient(str(product.socket_path))
    request = {"file": str(path), "target_instance": kind, "target_database": target, **more}
    made = client.post("/v1/operations", {"kind": "restore", "request": request})["operation"]
    done: dict[str, Any] = list(client.lines(f"/v1/operations/{made['id']}/watch"))[-1]
    return done


HOSTILE = b"SELECT 1;\n\\! touch %s\n"


@pytest.mark.parametrize(
    ("place", "sessions"),
    [
        (Section.HEADER, 1),
        (Section.SCHEMA, 3),
        (Section.DATA, 1),
        (Section.DATA, 3),
        (Section.POST, 3),
        (Section.FOOTER, 1),
    ],
)
def test_a_forged_file_of_ours_runs_nothing_and_leaves_nothing(
    product: Product, server_pool: ServerPool, tmp_path: Path, place: Section, sessions: int
) -> None:
    """The file proves itself whole; the text of one section is not what any dump tool writes."""
    mark, path = tmp_path / "mark", tmp_path / "x.sql.gz"
    texts = {
        Section.HEADER: HEAD + RESTRICT + b"SET client_encoding = 'UTF8';\n",
        Section.SCHEMA: b"CREATE TABLE public.a (i int);\n\n",
        Section.DATA: b"COPY public.a (i) FROM stdin;\n1\n\\.\n\n",
        Section.POST: b"ALTER TABLE ONLY public.a ADD PRIMARY KEY (i);\n\n",
        Section.FOOTER: END + UNRESTRICT,
    }
    texts[place] = UNRESTRICT + HOSTILE % bytes(mark) + texts[place]
    path.write_bytes(
        whole(*((section, "public.a", text) for section, text in texts.items()), properties={}, database_sql=())
    )
    done = restored(product, path, "postgresql", "never_made", sessions=sessions)
    assert done["operation"]["state"] == "failed", done
    assert "restrict" in str(done["steps"])
    assert not mark.exists()
    assert server_pool.get("postgresql").sql("SELECT count(*) FROM pg_database WHERE datname LIKE '%never%'") == [
        ("0",)
    ]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_foreign_dump_runs_nothing_and_leaves_nothing(
    product: Product, server_pool: ServerPool, tmp_path: Path, kind: str
) -> None:
    mark, path = tmp_path / "mark", tmp_path / "foreign.sql.gz"
    ends = {
        "postgresql": (HEAD + RESTRICT, UNRESTRICT, END),
        "mariadb": (b"-- MariaDB dump 10.19\n", b"", b"-- Dump completed\n"),
    }
    head, loose, end = ends[kind]
    path.write_bytes(gzip.compress(head + b"CREATE TABLE a (i int);\n" + loose + HOSTILE % bytes(mark) + end))
    done = restored(product, path, kind, "never_made")
    assert done["operation"]["state"] == "failed", done
    assert not mark.exists()
    names = "pg_database WHERE datname" if kind == "postgresql" else "information_schema.schemata WHERE schema_name"
    assert server_pool.get(kind).sql(f"SELECT count(*) FROM {names} LIKE '%never%'") == [("0",)]


def test_a_dump_that_restricts_itself_is_restored(product: Product, server_pool: ServerPool, tmp_path: Path) -> None:
    """The same psql that refuses everything else."""
    server = server_pool.get("postgresql")
    path = tmp_path / "foreign.sql"
    path.write_bytes(HEAD + RESTRICT + b"CREATE TABLE a (i int);\nCOPY a FROM stdin;\n7\n\\.\n" + END + UNRESTRICT)
    done = restored(product, path, "postgresql", "harmless")
    assert done["operation"]["state"] == "succeeded", done
    assert server.sql("SELECT i FROM a", "harmless") == [("7",)]
    server.drop_database("harmless")
