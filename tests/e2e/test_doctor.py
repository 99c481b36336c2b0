"""The doctor of a whole installation: what it finds is there, and what it proposes helps."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from tests.conftest import StartServer
from tests.observe.peers import MailPeer, Manners
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

PASSWORD = "weak but long"

POSTGRESQL = """
CREATE SCHEMA inner_room;
CREATE TABLE inner_room.things (id serial PRIMARY KEY, what text);
CREATE TABLE guarded (id int);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
INSERT INTO guarded VALUES (4711);
SELECT lo_from_bytea(0, 'large');
"""
MYSQL = """
CREATE TABLE things (id INT PRIMARY KEY, what VARCHAR(9));
INSERT INTO things VALUES (4711, 'a');
CREATE VIEW seen AS SELECT what FROM things;
CREATE TRIGGER watched BEFORE INSERT ON things FOR EACH ROW SET NEW.what = 'b';
CREATE PROCEDURE forgive() SELECT 'a body that must not be missing';
CREATE EVENT tidy ON SCHEDULE EVERY 1 YEAR STARTS '2036-01-01' DO DELETE FROM things;
CREATE TABLE loose (id INT) ENGINE = MyISAM;
"""

Finding = dict[str, Any]


def found(record: dict[str, Any], check: str, level: str | None = None) -> list[Finding]:
    """The findings of one check."""
    return [each for each in record["findings"] if each["check"] == check and level in (None, each["level"])]


def statements(record: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(each for finding in record["findings"] for each in finding.get("sql", ())))


def weaken(server: PrivateServer, database: str, account: str) -> None:
    """A database with everything that takes a right of its own, and an account without any."""
    server.create_database(database)
    if server.kind == "postgresql":
        server.sql(POSTGRESQL, database)
        server.sql(f"CREATE ROLE {account} LOGIN PASSWORD '{PASSWORD}'")
        server.sql(f'REVOKE CONNECT ON DATABASE "{database}" FROM PUBLIC')
    else:
        server.sql(MYSQL, database)
        server.sql(f"CREATE USER {account}@'%' IDENTIFIED BY '{PASSWORD}'")


def test_the_sql_makes_an_account_whole(server: PrivateServer, fresh_name: str, tmp_path: Path) -> None:
    account = f"weak_{fresh_name[2:12]}"
    weaken(server, fresh_name, account)
    # On one server all databases are ours but those of other tests, on the others the one that is named.
    wanted: dict[str, Any] = {"database": [fresh_name]}
    if server.kind == "mariadb":
        wanted = {"database": "*", "exclude_databases": [name for name in others(server) if name != fresh_name]}
    entry = instance(server, "one", username=account, password=PASSWORD, **wanted)
    with Product(tmp_path, [entry], servers=[server]) as product:
        ran = product.ctl("doctor", "--instance", "one", "--output", "json")
        assert ran.code == 1
        before, rounds = ran.json, 0
        text = product.ctl("doctor", "--instance", "one").out
        assert all(f"\n{statement}\n" in text for statement in statements(before)), "whole lines, ready to be copied"
        while statements(before):
            rounds += 1
            assert rounds <= 2, "who may not even look into a database is told more afterwards, once"
            for statement in statements(before):
                assert account in statement
                server.sql(statement)
            before = product.ctl("doctor", "--instance", "one", "--output", "json").json
        assert rounds == (2 if server.kind == "postgresql" else 1)
        after = product.ok("doctor", "--instance", "one")
        assert after["counts"]["fail"] == 0
        loose = {each["database"] for each in found(after, "engines", "warn")}
        assert loose == (set() if server.kind == "postgresql" else {fresh_name})
        made = product.ok("backup", "--database", fresh_name)
        assert [each["error"] for each in made["steps"]] == [None]
        file = next(Path(each["file"]) for each in made["backups"] if each["database"] == fresh_name)
        dump = gzip.decompress(file.read_bytes()).decode()
        objects = ["guarded", "6c61726765"] if server.kind == "postgresql" else ["seen", "watched", "a body", "tidy"]
        assert [each for each in ["things", "4711", *objects] if each not in dump] == []
        assert product.ctl("backup").code == 0, "the users of the server, too"
    server.drop_database(fresh_name)


def others(server: PrivateServer) -> list[str]:
    """The databases that tests beside this one may have."""
    catalog = "pg_database" if server.kind == "postgresql" else "information_schema.SCHEMATA"
    column = "datname" if server.kind == "postgresql" else "SCHEMA_NAME"
    return [name for (name,) in server.sql(f"SELECT {column} FROM {catalog}")]


def test_settings_of_a_server(start_server: StartServer, tmp_path: Path) -> None:
    narrow = {"max_locks_per_transaction": "10", "max_connections": "10", "lock_timeout": "30s"}
    server = start_server("postgresql", settings=narrow)
    server.create_database("wide")
    server.sql("".join(f"CREATE TABLE t{number} (id int);" for number in range(150)), "wide")
    server.create_database("forgotten")
    server.create_database("kept_out")
    wanted = {"database": ["wide", "gone"], "exclude_databases": ["kept_out"]}
    with Product(tmp_path, [instance(server, "one", **wanted)], servers=[server]) as product:
        record = product.ctl("doctor", "--instance", "one", "--output", "json").json
        [locks] = found(record, "locks")
        assert (locks["level"], locks["database"]) == ("fail", "wide")
        assert "Set max_locks_per_transaction to 30" in locks["hint"]
        assert [each["message"].rpartition(": ")[2] for each in found(record, "databases")] == ["gone", "forgotten"]
        assert "lock_timeout 30s" in found(record, "settings", "ok")[0]["message"]


def test_one_trouble_hides_no_other(
    any_postgresql: PrivateServer, fresh_name: str, closed_port: int, tmp_path: Path
) -> None:
    any_postgresql.create_database(fresh_name)
    well = instance(any_postgresql, "well", database=[fresh_name])
    config = {
        "notifications": {
            "email": {
                "enabled": True,
                "smtp_host": "127.0.0.1",
                "smtp_port": closed_port,
                "use_tls": False,
                "from_address": "backup@example.com",
                "error_recipients": ["ops@example.com"],
            },
            "webhooks": [{"url": "https://nobody.invalid/hook"}],
        },
        "monitoring": {"prometheus": {"pushgateway_url": f"http://127.0.0.1:{closed_port}", "push_interval": "1h"}},
    }
    down = well | {"id": "down", "port": closed_port}
    with Product(tmp_path, [well, down], servers=[any_postgresql], config=config) as product:
        credentials = tmp_path / "credentials.json"
        credentials.chmod(0o644)
        product.base_path.chmod(0o755)
        ran = product.ctl("doctor", "--output", "json")
        assert ran.code == 1
        failed = {(each["check"], each["instance"]) for each in ran.json["findings"] if each["level"] == "fail"}
        expected = {(check, None) for check in ("credentials", "mail", "pushgateway", "webhooks")}
        assert failed == expected | {("login", "down")}
        [mode] = found(ran.json, "credentials")
        assert f"chmod 600 {credentials}" in mode["hint"]
        assert found(ran.json, "storage", "warn")
        fine = {each["check"] for each in ran.json["findings"] if each["level"] == "ok"}
        assert {"disk", "inodes", "state", "catalog", "tools", "clock", "login", "rights", "content"} <= fine
        credentials.chmod(0o600)
        product.base_path.chmod(0o750)
        again = product.ctl("doctor", "--output", "json").json
        assert not found(again, "storage", "warn") + found(again, "credentials", "fail")
        text = product.ctl("doctor").out
        assert text.index("\ndown\n") < text.index("\nwell\n"), "the worst first"
        assert product.ctl("doctor", "--instance", "nobody").code == 4
    any_postgresql.drop_database(fresh_name)


def test_a_whole_installation_is_well_also_without_a_daemon(
    start_server: StartServer, fresh_name: str, tmp_path: Path
) -> None:
    # A server of its own: databases of other tests would be uncovered ones.
    server = start_server("postgresql")
    server.create_database(fresh_name)
    with MailPeer(Manners(password=PASSWORD)) as mail:
        email = {
            "enabled": True,
            "smtp_host": "127.0.0.1",
            "smtp_port": mail.port,
            "use_tls": False,
            "username": "mailer",
            "password": PASSWORD,
            "from_address": "backup@example.com",
            "error_recipients": ["ops@example.com"],
        }
        config = {"notifications": {"email": email}, "scheduling": {"enabled": True}}
        entry = instance(server, "one", database=[fresh_name])
        product = Product(tmp_path, [entry], servers=[server], config=config)
        with product:
            assert product.ctl("status").out.startswith("WAITING"), "nothing is protected before the first backup"
            product.ok("backup")
            text = product.ctl("status").out
            assert text.startswith("PROTECTED   1 database on 1 server, the oldest backup ")
            assert " 1 of 1 " in next(line for line in text.splitlines() if line.startswith("  one "))
            well = product.ok("doctor")
            assert found(well, "mail", "ok")
            [slot] = found(well, "schedule")
            assert (slot["level"], slot["instance"]) == ("ok", "one")
            assert "next 20" in slot["message"]
            assert product.ctl("doctor", "--standalone").code == 6, "one at a time"
        alone = product.ok("doctor", "--standalone", "--config", str(product.config_path))
        assert alone["counts"]["fail"] == 0
        assert not mail.mails, "nobody is bothered"
        product.settings["notifications"]["email"]["password"] = "another"
        product.write_config()
        refused = product.ctl("doctor", "--standalone", "--config", str(product.config_path), "--output", "json")
        assert [each["check"] for each in refused.json["findings"] if each["level"] == "fail"] == ["mail"]
