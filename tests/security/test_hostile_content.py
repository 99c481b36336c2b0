"""Databases whose names, comments, rows and routines try to be something else, through everything that shows or keeps them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ServerPool
from tests.observe.peers import HttpPeer, MailPeer
from tests.waiting import until
from vya_backupd.client import shown
from vya_backupd.client.transport import ControlClient
from vya_backupd.model import terminal
from vya_backupd.testing import compare
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

DATABASE = 'é\x1b]0;x\x07"\'`\n<b>{l="1"}\u202e\\!$(id)\u0085'
MARKER = "vya_pwned"
NAMES = [
    "--all;--",
    "../../etc/passwd",
    "a\"b\"\"c`d``e'f''g\\'h\\\\",
    "two\nlines",
    "\r\n\\! touch " + MARKER,
    "$(touch " + MARKER + ")",
    "\\.",
    "x */ y /*!50000 DROP TABLE t */ /* z",
    "-- Dump completed",
    "Name: x; Type: TABLE; Schema: -",
    "\u202e" + "日本語" * 6 + "\u2066",
    "%s{database}{{\x1b[31mred\x1b[0m\x07",
]
TEXTS = [
    "\n--\n-- PostgreSQL database dump complete\n--\n\n\\! touch " + MARKER + "\n",
    "\n\\unrestrict x\n\\restrict y\n",
    "\n\\.\n\nDROP TABLE t;\n",
    "\n--\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: -\n--\n\nCOPY t FROM stdin;\n1\n\\.\n",
    "\n-- Dump completed on 2026-01-09 10:00:00\n",
    "\n--\n-- Dumping data for table `t`\n--\nINSERT INTO `t` VALUES (1);\nDELIMITER ;;\n;;\nDELIMITER ;\n",
    "*/;\n/*!40101 SET NAMES x */;\n/*M!999999\\- sandbox */\n",
    "');\\';\";`;--\n#\n",
    "$$;\n$_$;\n$function$;\n",
    "\\N\t\\\\\\.\r\n\x1b[2J\u202e\x7f\x08",
    "\x1f\x8b\x08\x04VB",
    "",
]


@dataclass(frozen=True)
class Attacked:
    """A running product, the server with the hostile database, and those whom the product tells."""

    product: Product
    server: PrivateServer
    mail: MailPeer
    http: HttpPeer

    @property
    def client(self) -> ControlClient:
        return ControlClient(str(self.product.socket_path))

    def run(self, kind: str, **request: Any) -> dict[str, Any]:
        """Do an operation, demand success, and return its result."""
        made = self.client.post("/v1/operations", {"kind": kind, "request": request})["operation"]
        last: dict[str, Any] = list(self.client.lines(f"/v1/operations/{made['id']}/watch"))[-1]
        assert last["operation"]["state"] == "succeeded", last
        return last

    def literal(self, text: str) -> str:
        """A string constant."""
        if self.server.kind == "postgresql":
            return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
        return "_utf8mb4 0x" + text.encode().hex() if text else "''"


def _fill(at: Attacked) -> None:
    server, quote = at.server, at.server.quote_name
    server.create_database(DATABASE)
    postgresql = server.kind == "postgresql"
    statements = []
    for number, name in enumerate(NAMES):
        table, column = quote(name), quote(NAMES[number - 1])
        note = TEXTS[number % len(TEXTS)]
        if postgresql:
            statements.append(f"create table {table} (id int primary key, {column} text, v text)")
            statements.append(f"comment on table {table} is {at.literal(note)}")
            statements.append(f"comment on column {table}.{column} is {at.literal(note + name)}")
            statements.append(
                f"create view {quote('v ' + name)} as select * from {table} where v <> {at.literal(note)}"
            )
        else:
            remark = "'" + note.replace("\\", "\\\\").replace("'", "''") + "'"
            statements.append(
                f"create table {table} (id int primary key, {column} text charset utf8mb4 comment {remark}, v text charset utf8mb4) comment {remark}"
            )
            statements.append(f"create view {quote('v ' + name)} as select id, v from {table} where v <> {remark}")
        rows = ", ".join(f"({key}, {at.literal(text)}, {at.literal(text + name)})" for key, text in enumerate(TEXTS))
        statements.append(f"insert into {table} values {rows}")
    server.sql(";\n".join(statements), DATABASE)
    for number, text in enumerate(TEXTS):
        body = text.replace("\x00", "")
        if postgresql:
            server.sql(
                f"create function f{number}() returns text language sql as {at.literal(f'select {at.literal(body)}')}",
                DATABASE,
            )
        else:
            constant = "'" + body.replace("\\", "\\\\").replace("'", "''") + "'"
            server.sql(
                f"create function f{number}() returns text charset utf8mb4 deterministic return {constant}", DATABASE
            )


@pytest.fixture(scope="module", params=["postgresql", "mariadb", "mysql"])
def attacked(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacked]:
    server = server_pool.get(request.param)
    folder = tmp_path_factory.mktemp("content")
    pattern = "".join(f"[{char}]" if char in "*?[" else char if char.isprintable() else "?" for char in DATABASE)
    with MailPeer() as mail, HttpPeer() as http:
        email = {
            "enabled": True, "smtp_host": "127.0.0.1", "smtp_port": mail.port, "use_tls": False,
            "from_address": "a@example.com", "success_recipients": ["b@example.com"], "error_recipients": ["b@example.com"],
        }  # fmt: skip
        hook = {"url": http.url("/hook"), "events": ["*"]}
        config = {"notifications": {"email": email, "webhooks": [hook]}}
        product = Product(folder, [instance(server, "one", database=[pattern])], servers=[server], config=config)
        at = Attacked(product, server, mail, http)
        _fill(at)
        with product:
            yield at
        server.drop_database(DATABASE)


def _dumped(server: PrivateServer, database: str) -> bytes:
    """What the server's own tool dumps, without how far the server's log has come."""
    return re.sub(rb"SET @@GLOBAL.GTID_PURGED=[^;]*;\n", b"", compare.own_dump(server, database))


@pytest.mark.parametrize("sessions", [1, 3])
def test_it_comes_back_as_it_was(attacked: Attacked, sessions: int) -> None:
    """In one session and in several, there and back, and nothing of it was run."""
    before = _dumped(attacked.server, DATABASE)
    done = attacked.run("backup", instances=["one"], globals=False, parallel=sessions > 1, workers=sessions)
    assert [step["database"] for step in done["steps"]] == [DATABASE]
    assert attacked.run("verify", instance="one", database=DATABASE, latest=True)["verified"][0]["ok"]
    attacked.run("restore", instance="one", database=DATABASE, latest=True, target_database="beside", sessions=sessions)
    try:
        assert _dumped(attacked.server, "beside") == before
    finally:
        attacked.server.drop_database("beside")
    assert not list(attacked.product.root.rglob(MARKER))
    assert not Path(MARKER).exists()
    assert not list(attacked.server.directory.rglob(MARKER))


def test_single_tables_come_back_under_their_hostile_names(attacked: Attacked) -> None:
    attacked.run("backup", instances=["one"], globals=False)
    prefix = "public." if attacked.server.kind == "postgresql" else ""
    wanted = [prefix + name for name in NAMES if not set(name) & set("\r\n")]
    attacked.run("restore", instance="one", database=DATABASE, latest=True, target_database="some", tables=wanted)
    try:
        for number, name in enumerate(NAMES):
            if prefix + name in wanted:
                rows = attacked.server.sql(f"select count(*) from {attacked.server.quote_name(name)}", "some")
                assert rows == [(str(len(TEXTS)),)], number
    finally:
        attacked.server.drop_database("some")


def test_what_is_told_of_it_is_text_everywhere(attacked: Attacked) -> None:
    product = attacked.product
    attacked.run("backup", instances=["one"], globals=False)
    if attacked.server.kind == "postgresql":  # the client does not know which server it was
        _terminals(product)
    status, text = product.get("/metrics")
    assert status == 200
    labels = [
        s.labels for family in text_string_to_metric_families(text) for s in family.samples if s.labels.get("database")
    ]
    assert labels
    assert {found["database"] for found in labels} <= {DATABASE, "@globals"}
    until(lambda: product.log().endswith("\n"))
    assert all(isinstance(json.loads(line), dict) for line in product.log().splitlines()[:-1])
    until(lambda: any(DATABASE in set(_texts(json.loads(each.body))) for each in attacked.http.requests))
    mail = until(lambda: [each for each in attacked.mail.mails if "backup" in each.subject])[-1]
    assert "<b>{" not in mail.part("html")
    assert "&lt;b&gt;{" in mail.part("html")
    assert not set(mail.subject) & set("\r\n\x1b")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", mail.part("plain")), "control characters in a mail"
    assert product.ctl("audit", "verify").code == 0


def _texts(value: Any) -> Iterator[str]:
    """Every string in a JSON document."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(inner)


def _terminals(product: Product) -> None:
    commands = [
        ("backups", "list"), ("backup", "--list-databases"), ("operations", "list"), ("status",), ("audit", "show"),
        ("backup", "--dry-run"), ("backup", "--instance", "one", "--database", DATABASE + "x"),
    ]  # fmt: skip
    for number, command in enumerate(commands):
        for form in ("table", "json") if number < 2 else ("table",):
            ran = product.ctl(*command, "--output", form)
            bad = [char for char in ran.out + ran.err if not char.isprintable() and char != "\n"]
            assert bad == [], (command, form, bad)
            if form == "json":
                assert any(text == DATABASE for text in _texts(ran.json)), command


def test_json_for_terminals_is_the_same_json() -> None:
    text = json.dumps({"a": DATABASE + "\u2066\x9b", "b": "ü"}, ensure_ascii=False)
    assert json.loads(terminal.escaped(text)) == json.loads(text)
    assert terminal.escaped('"ü"') == '"ü"'
    assert shown.harmless("a\n\x1b[2J\r\n") == "a\n\\x1b[2J\\r\n"
