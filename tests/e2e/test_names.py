"""Names and passwords that break shells, connection strings, option files and paths, through the whole product."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool, _labels
from vya_backupd.client.transport import ControlClient
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

NAMES = [
    "with space",
    " leading space",
    'dou"ble',
    "sin'gle",
    "back`tick",
    "ключ_日本_ß",
    "cafe\u0301 decomposed",
    "-leading-dash",
    "--help",
    "sl/ash",
    "/etc/passwd",
    "back\\slash",
    "per%cent%20",
    "key=value",
    "dbname=postgres host=/tmp",
    "postgresql://user@host/db?x=1",
    "..",
    ".hidden",
    "new\nline",
    "tab\there",
    "carriage\rreturn",
    "$(touch pwned); `id` | cat",
    "*",
    "[a-z]?",
    "a,b",
    "#comment -- also ;",
    "Größe_" + "x" * 55,
    "end_2",
    "MixedCase",
    "mixedcase",
]
"""Every server here takes all of them; the longest has PostgreSQL's 63 bytes."""


@dataclass(frozen=True)
class Installation:
    product: Product
    server: PrivateServer

    @property
    def client(self) -> ControlClient:
        return ControlClient(str(self.product.socket_path))

    def run(self, kind: str, **request: Any) -> dict[str, Any]:
        """Do an operation, demand success, and return its result."""
        made = self.client.post("/v1/operations", {"kind": kind, "request": request})["operation"]
        last = list(self.client.lines(f"/v1/operations/{made['id']}/watch"))[-1]
        assert last["operation"]["state"] == "succeeded", last
        return last


@pytest.fixture(scope="module", params=_labels("postgresql", "mariadb", "mysql"))
def odd(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A running product, and a server in which every odd name is a database with a table and a column of that name."""
    server = server_pool.get(request.param)
    for number, name in enumerate(NAMES):
        server.create_database(name)
        quoted = server.quote_name(name)
        # Table and column take another odd name than the database.
        other = server.quote_name(NAMES[number - 1])
        server.sql(f"create table {other} ({quoted} int); insert into {other} values ({number})", name)
    one = instance(server, "one", database=[_literal(name) for name in NAMES])
    product = Product(tmp_path_factory.mktemp("names"), [one], servers=[server])
    with product:
        yield Installation(product, server)
    for name in NAMES:
        server.drop_database(name)


def _literal(name: str) -> str:
    """A pattern that means this name alone; the file takes no control characters."""
    return "".join(f"[{char}]" if char in "*?[" else char if char.isprintable() else "?" for char in name)


def _content(server: PrivateServer, database: str, number: int) -> list[tuple[str, ...]]:
    column, table = server.quote_name(NAMES[number]), server.quote_name(NAMES[number - 1])
    return server.sql(f"select {column} from {table}", database)


def test_every_name_is_backed_up_listed_verified_and_restored_under_another(odd: Installation) -> None:
    done = odd.run("backup", instances=["one"], globals=False)
    assert [step["database"] for step in done["steps"]] == sorted(NAMES)
    assert len(odd.product.files()) == len(NAMES)
    assert all(path.is_relative_to(odd.product.base_path / "testhost" / "one") for path in odd.product.files())
    listed = odd.client.get("/v1/backups", {"instance": "one"})["backups"]
    assert sorted(backup["database"] for backup in listed) == sorted(NAMES)
    assert len(odd.run("verify", instance="one", all=True)["verified"]) == len(NAMES)

    for number, name in enumerate(NAMES):
        target = _beside(NAMES[number - 2])
        odd.run("restore", instance="one", database=name, latest=True, target_database=target)
        try:
            assert _content(odd.server, target, number) == [(str(number),)]
        finally:
            odd.server.drop_database(target)


def _beside(name: str) -> str:
    """An odd name that is not taken: the same with its last character turned over."""
    return name[:-1] + ("Z" if name[-1] != "Z" else "Y") + ("" if len(name.encode()) > 50 else "~'\" \\")


@pytest.mark.parametrize("odd", ["postgresql-15", "mariadb-10.11"], indirect=True)  # it is the client's test
def test_a_name_survives_the_command_line(odd: Installation) -> None:
    for name in ("-leading-dash", "--help", "new\nline", "*", "$(touch pwned); `id` | cat", "a,b"):
        given = name.replace(",", "\\,")
        made = odd.product.ok("backup", "--instance", "one", f"--database={given}")
        assert [step["database"] for step in made["steps"]] == [name]
        target = f"--copy of {name}"
        odd.product.ok("restore", "--instance=one", f"--database={name}", "--latest", f"--target-database={target}")
        try:
            assert _content(odd.server, target, NAMES.index(name)) == [(str(NAMES.index(name)),)]
        finally:
            odd.server.drop_database(target)
        shown = odd.product.ok("restore", "--list", "--instance=one", f"--database={name}")
        assert {backup["database"] for backup in shown["backups"]} == {name}
    assert not list(odd.product.root.rglob("pwned"))


def test_a_name_that_the_catalog_lost_is_read_back_from_the_files(odd: Installation) -> None:
    before = odd.client.get("/v1/backups")["backups"] or odd.run("backup", instances=["one"], globals=False)["backups"]
    odd.run("rebuild")
    after = odd.client.get("/v1/backups")["backups"]
    assert {(each["id"], each["database"], each["file"]) for each in after} >= {
        (each["id"], each["database"], each["file"]) for each in before
    }


def test_the_reserved_name_is_refused_loudly_and_stops_nothing_else(server: PrivateServer, tmp_path: Path) -> None:
    for name in ("@globals", "beside it"):
        server.create_database(name)
    entry = instance(server, "one", database=["@globals", "beside it"])
    try:
        with Product(tmp_path, [entry], servers=[server]) as product:
            done = product.ctl("backup", "--output", "json")
            assert done.code == 3
            states = {step["database"]: step["state"] for step in done.json["steps"]}
            assert states == {"*": "failed", "beside it": "succeeded", "@globals": "succeeded"}
            assert [(each["database"], each["type"]) for each in done.json["backups"]][-1] == ("@globals", "globals")
            assert "exclude_databases" in done.err
    finally:
        for name in ("@globals", "beside it"):
            server.drop_database(name)


PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "
PASSWORDS = {
    "printable": PRINTABLE,
    "backwards": PRINTABLE[::-1],
    "blanks": "  both ends  ",
    "quotes": "'\"`'\"",
    "backslash": "ends with \\",
    "escapes": "\\n\\t\\s\\\\:\\:",
    "comment": "#not a comment;nor this",
    "unicode": "Ünïcödé-пароль-密码-🔑",
    "percent": "%s%(x)s{0}%25",
    "tab": "a\tb",
}


def test_every_password_serves_probe_and_tools(
    server: PrivateServer, tmp_path_factory: pytest.TempPathFactory, fresh_name: str
) -> None:
    users = {key: f"u_{key}_{fresh_name[2:8]}" for key in PASSWORDS}
    server.create_database(fresh_name)
    server.sql("create table t (a int); insert into t values (7)", fresh_name)
    for key, user in users.items():
        _create_user(server, user, PASSWORDS[key])
    entries = [
        instance(server, key, username=users[key], password=PASSWORDS[key], database=[fresh_name]) for key in users
    ]
    try:
        with Product(tmp_path_factory.mktemp("passwords"), entries, servers=[server]) as product:
            there = Installation(product, server)
            tested = there.client.post("/v1/connections/test", {})["connections"]
            assert {each["instance"]: each["error"] for each in tested} == dict.fromkeys(users)
            done = there.run("backup", globals=False)
            assert len(done["backups"]) == len(PASSWORDS)
            for key in users:
                there.run("restore", instance=key, database=fresh_name, latest=True, target_database=f"{fresh_name} c")
                assert server.sql("select a from t", f"{fresh_name} c") == [("7",)]
                server.drop_database(f"{fresh_name} c")
    finally:
        server.drop_database(fresh_name)
        for user in users.values():
            server.sql(f"drop {'role' if server.kind == 'postgresql' else 'user'} {server.quote_name(user)}")


def _create_user(server: PrivateServer, user: str, password: str) -> None:
    text = password.replace("'", "''")
    if server.kind == "postgresql":
        server.sql(f"create role {server.quote_name(user)} superuser login password '{text}'")
        return
    text = text.replace("\\", "\\\\")
    quoted = server.quote_name(user)
    server.sql(f"create user {quoted}@'%' identified by '{text}'; grant all on *.* to {quoted}@'%' with grant option")
