"""Definers at restore: kept, stripped, replaced, on MySQL and MariaDB; and what is said of those that do not exist."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerPool, _labels
from tests.e2e.compare_mysql import client, option_file
from vya_backupd.testing.product import Product, Ran, instance
from vya_backupd.testing.servers import PrivateServer

NAME = "definers_db"
_FAKE = "CREATE DEFINER=`ghost`@`%` VIEW x AS SELECT 1;"
_SCHEMA = f"""
CREATE TABLE t (id int PRIMARY KEY, v varchar(200) COMMENT 'DEFINER=`ghost`@`%`');
INSERT INTO t VALUES (1, '{_FAKE}'), (2, '\\n/*!50013 DEFINER=`ghost`@`%` */\\nDELIMITER ;;\\n{_FAKE}');
CREATE TABLE log (what text);
CREATE DEFINER=`ghost`@`%` FUNCTION twice(a int) RETURNS int DETERMINISTIC RETURN a * 2;
CREATE DEFINER=`ghost`@`%` VIEW w AS SELECT id, '{_FAKE}' AS fake FROM t;
CREATE DEFINER=`ghost`@`%` VIEW ww AS SELECT twice(id) AS two FROM w;
CREATE DEFINER=`gh``ost`@`%` SQL SECURITY INVOKER VIEW inv AS SELECT 1 AS one;
CREATE DEFINER=`ghost`@`%` TRIGGER tr BEFORE INSERT ON t FOR EACH ROW INSERT INTO log VALUES ('DEFINER=`ghost`@`%`');
CREATE DEFINER=`ghost`@`%` EVENT ev ON SCHEDULE EVERY 1 DAY DO INSERT INTO log VALUES ('ran');
"""
_PROCEDURE = f"""DELIMITER ;;
CREATE DEFINER=`ghost`@`%` PROCEDURE p()
BEGIN
  -- a line that looks like the head of something
  SELECT '
{_FAKE}
';
END ;;
DELIMITER ;
"""


@dataclass(frozen=True)
class Site:
    """A server with the database, whose definers are gone; ``weak`` is a second account there."""

    server: PrivateServer
    product: Product

    def restore(self, name: str, *options: str) -> Ran:
        source = ("--instance", "one", "--database", NAME, "--latest")
        return self.product.ctl("restore", *source, "--target-database", name, *options)

    def definers(self, name: str) -> set[str]:
        """The accounts that define something in a database."""
        where = "{0}_SCHEMA = database()"
        tables = {"VIEWS": "TABLE", "ROUTINES": "ROUTINE", "TRIGGERS": "TRIGGER", "EVENTS": "EVENT"}
        queries = [
            f"SELECT DEFINER FROM information_schema.{table} WHERE {where.format(prefix)}"
            for table, prefix in tables.items()
        ]
        found = [self.server.sql(query, name) for query in queries]
        assert all(found), "something of the database is missing"
        return {definer for rows in found for (definer,) in rows}

    def rows(self, name: str) -> list[Any]:
        return self.server.sql("SELECT id, HEX(v) FROM t ORDER BY id", name)


@pytest.fixture(scope="module", params=_labels("mariadb", "mysql"))
def site(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    server = server_pool.get(request.param)
    server.drop_database(NAME)
    server.create_database(NAME)
    server.sql("CREATE USER ghost@'%'; CREATE USER `gh``ost`@'%'; CREATE USER heir@'%'; GRANT ALL ON *.* TO ghost@'%'")
    client(server, (_SCHEMA + _PROCEDURE).encode(), NAME, "--comments")
    weak = instance(server, "weak", username="weak_one", password="weak-0ne", database=[NAME])
    rights = (
        "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW, TRIGGER, EVENT"
    )
    server.sql(
        f"CREATE USER weak_one@'%' IDENTIFIED BY 'weak-0ne'; GRANT {rights}, CREATE ROUTINE, ALTER ROUTINE, LOCK TABLES,"
        " EXECUTE, PROCESS, RELOAD ON *.* TO weak_one@'%'; SET GLOBAL log_bin_trust_function_creators = ON"
    )
    entries = [instance(server, "one", database=[NAME]), weak]
    with Product(tmp_path_factory.mktemp("definers"), entries, servers=[server]) as product:
        product.ok("backup", "--instance", "one")
        server.sql("DROP USER ghost@'%'; DROP USER `gh``ost`@'%'")
        yield Site(server, product)
    server.sql("DROP USER heir@'%'; DROP USER weak_one@'%'; SET GLOBAL log_bin_trust_function_creators = OFF")
    server.drop_database(NAME)


@pytest.fixture
def copy(site: Site, fresh_name: str) -> Iterator[str]:
    yield fresh_name
    site.server.drop_database(fresh_name)


def _error(ran: Ran) -> dict[str, Any]:
    said = ran.json
    return dict(said["steps"][0]["error"] if said.get("steps") else said["error"])


def test_kept_definers_that_are_gone_are_warned_of_before(site: Site, copy: str) -> None:
    done = site.restore(copy)
    assert done.code == 0, done.err
    plan, _, _ = done.err.partition("restore ")
    warning = next(line for line in done.err.splitlines() if line.startswith("warning"))
    assert plan
    assert "gh`o***@%, ghos***@%" in warning
    for way in ("--globals", "--definer strip", "--definer replace --definer-user"):
        assert way in warning
    assert site.definers(copy) == {"ghost@%", "gh`ost@%"}


def test_stripped_definers_are_whoever_restores(site: Site, copy: str) -> None:
    done = site.restore(copy, "--definer", "strip")
    assert done.code == 0, done.err
    assert "warning" not in done.err
    (login,) = site.definers(copy)
    assert login.partition("@")[0] == site.server.admin_user
    assert site.rows(copy) == site.rows(NAME)
    assert site.server.sql("SELECT two, (SELECT fake FROM w LIMIT 1) FROM ww ORDER BY 1", copy)[0] == ("2", _FAKE)
    shown = site.server.sql("SHOW CREATE PROCEDURE p", copy)[0][2]
    assert f"'\n{_FAKE}\n'" in shown
    assert "-- a line that looks like" in shown
    ((security,),) = site.server.sql(
        "SELECT SECURITY_TYPE FROM information_schema.VIEWS WHERE TABLE_SCHEMA = database() AND TABLE_NAME = 'inv'",
        copy,
    )
    assert security == "INVOKER"


def test_replaced_definers(site: Site, copy: str) -> None:
    nobody = site.restore(copy, "--definer", "replace", "--definer-user", "nobody@%", "--output", "json")
    assert (nobody.code, _error(nobody)["code"]) == (6, "target_lacks")
    assert (copy,) not in site.server.sql("SHOW DATABASES")
    done = site.restore(copy, "--definer", "replace", "--definer-user", "heir", "--sessions", "2")
    assert done.code == 0, done.err
    assert site.definers(copy) == {"heir@%"}
    assert site.rows(copy) == site.rows(NAME)
    ((grants,),) = site.server.sql("SELECT COUNT(*) FROM mysql.db WHERE User = 'heir'")
    assert grants == "0", "what the definer was lent was not taken back"


def test_single_tables_and_their_text(site: Site, copy: str, tmp_path: Path) -> None:
    site.server.create_database(copy)
    site.server.sql("CREATE TABLE log (what text)", copy)
    kept = site.restore(copy, "--table", "t", "--dry-run")
    assert "ghos***@% defined" in kept.err
    assert "gh`o" not in kept.err
    done = site.restore(copy, "--table", "t", "--definer", "strip")
    assert done.code == 0, done.err
    ((definer,),) = site.server.sql(
        "SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = database()", copy
    )
    assert definer.startswith(site.server.admin_user)
    assert site.rows(copy) == site.rows(NAME)
    source = ("extract", "--instance", "one", "--database", NAME, "--latest", "--table", "t")
    text = site.product.ctl(*source, "--definer", "replace", "--definer-user", "heir@localhost").out
    assert "DEFINER=`heir`@`localhost`*/ /*!50003 TRIGGER" in text
    assert text.count("DEFINER=`ghost`@`%`") == site.product.ctl(*source).out.count("DEFINER=`ghost`@`%`") - 1


def test_a_foreign_dump(site: Site, copy: str, tmp_path: Path) -> None:
    with option_file(site.server) as login:
        command = [str(site.server.tools["dump"]), f"--defaults-file={login}", "--routines", "--events", NAME]
        site.server.sql("CREATE USER ghost@'%'; CREATE USER `gh``ost`@'%'; GRANT ALL ON *.* TO ghost@'%'")
        text = subprocess.run(command, capture_output=True, check=True).stdout
        site.server.sql("DROP USER ghost@'%'; DROP USER `gh``ost`@'%'")
    seen = "SELECT @@GLOBAL.gtid_purged" if site.server.kind == "mysql" else "SELECT ''"
    before = site.server.sql(seen)
    assert (b"GTID_PURGED=" in text) == (site.server.kind == "mysql")
    file = tmp_path / "foreign.sql"
    file.write_bytes(text)
    target = ("--target-instance", "one", "--target-database", copy, "--definer", "strip")
    done = site.product.ctl("restore", "--file", str(file), *target)
    assert done.code == 0, done.err
    (login_name,) = site.definers(copy)
    assert login_name.startswith(site.server.admin_user)
    assert site.rows(copy) == site.rows(NAME)
    assert site.server.sql(seen) == before


def test_who_may_not_set_definers_is_told_so_before(site: Site, copy: str) -> None:
    refused = site.restore(copy, "--target-instance", "weak", "--output", "json")
    error = _error(refused)
    assert (refused.code, error["code"]) == (6, "target_unsuitable")
    assert "GRANT SET" in error["hint"]
    assert "--definer strip" in error["hint"]
    assert (copy,) not in site.server.sql("SHOW DATABASES")
    done = site.restore(copy, "--target-instance", "weak", "--definer", "strip")
    assert done.code == 0, done.err
    assert site.definers(copy) == {"weak_one@%"}


def test_options_that_mean_nothing(site: Site, copy: str) -> None:
    for options in (("--definer", "replace"), ("--definer-user", "heir@%"), ("--no-owner", "--skip-extension", "x")):
        assert site.restore(copy, *options).code == 2
