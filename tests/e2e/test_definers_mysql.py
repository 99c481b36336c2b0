"""Views, functions and events whose definer is gone, unknown at the target, or without rights on a copy."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from tests.conftest import ServerPool, _labels
from tests.e2e.compare_mysql import Pair, assert_same, running_pair

NAME = "defined_by%others"
_SCHEMA = """
CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2);

CREATE DEFINER=`app user`@`10.%` VIEW inner_view AS SELECT a FROM t;
CREATE DEFINER=`app user`@`10.%` FUNCTION f() RETURNS int DETERMINISTIC RETURN 41;
CREATE DEFINER=`app user`@`10.%` VIEW a_outer AS SELECT * FROM inner_view;
CREATE DEFINER=`app user`@`10.%` VIEW z_outer AS SELECT * FROM inner_view;
CREATE DEFINER=`app user`@`10.%` VIEW z_calling AS SELECT f() + a AS b FROM t;
CREATE DEFINER=`app user`@`10.%` SQL SECURITY INVOKER VIEW zz AS SELECT * FROM z_outer;
CREATE DEFINER=`app user`@`10.%` TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = NEW.a + f();
CREATE DEFINER=`app user`@`10.%` EVENT ev ON SCHEDULE EVERY 1 DAY DO DELETE FROM t WHERE a = f();
"""
_USER = "`app user`@`10.%`"


@pytest.fixture(scope="module", params=_labels("mariadb", "mysql"))
def pair(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    one = server_pool.get(request.param)
    one.drop_database(NAME)
    one.sql(f"DROP USER IF EXISTS {_USER}; CREATE USER {_USER} IDENTIFIED BY 'x'")
    one.create_database(NAME)
    one.sql("GRANT ALL ON `defined\\_by\\%others`.* TO " + _USER)
    one.sql(_SCHEMA, NAME)
    with running_pair(one, tmp_path_factory.mktemp("definers")) as each:
        each.backup(NAME)
        yield each
    one.drop_database(NAME)
    one.sql(f"DROP USER IF EXISTS {_USER}")


def test_views_upon_views_of_an_unknown_definer_are_restored(pair: Pair) -> None:
    done = pair.restore(NAME, "--target-instance", "two", "--target-database", "elsewhere")
    assert any("definer app " in note and "does not exist" in note for note in done["restored"][0]["notes"])
    assert pair.two.sql("SELECT COUNT(*) FROM mysql.user WHERE User = 'app user'") == [("0",)]
    # The source's own tool reads them only while their definer is there.
    pair.two.sql(f"CREATE USER {_USER}; GRANT ALL ON *.* TO {_USER}")
    assert_same(pair.one, NAME, pair.two, "elsewhere", events_off=True)
    assert pair.two.sql("SELECT SUM(b) FROM z_calling", "elsewhere") == [("85",)]
    pair.two.sql(f"DROP USER {_USER}")


def test_a_definer_without_rights_on_the_copy_keeps_what_he_had(pair: Pair) -> None:
    before = pair.one.sql(f"SHOW GRANTS FOR {_USER}")
    pair.restore(NAME, "--target-database", "a_copy")
    assert pair.one.sql(f"SHOW GRANTS FOR {_USER}") == before
    listed = pair.one.sql("SELECT TABLE_NAME, DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'a_copy'")
    assert sorted(listed) == [
        (name, "app user@10.%") for name in ("a_outer", "inner_view", "z_calling", "z_outer", "zz")
    ]
    pair.one.drop_database("a_copy")


def test_a_database_of_other_definers_is_replaced(pair: Pair) -> None:
    before = pair.one.sql(f"SHOW GRANTS FOR {_USER}")
    pair.restore(NAME, "--overwrite", "--yes")
    assert pair.one.sql(f"SHOW GRANTS FOR {_USER}") == before
    assert pair.one.sql("SELECT a FROM z_outer ORDER BY a", NAME) == [("1",), ("2",)]


def test_views_that_the_server_cannot_resolve_are_said_and_kept_as_text(pair: Pair) -> None:
    name = "unresolved"
    pair.one.create_database(name)
    pair.one.sql("CREATE TABLE t (a int); CREATE TABLE lost (a int); CREATE VIEW fine AS SELECT a FROM t", name)
    pair.one.sql("CREATE VIEW `broken\nview` AS SELECT a AS what_was_meant FROM lost; DROP TABLE lost", name)
    pair.one.sql("CREATE USER passing@`%`", name)
    pair.one.sql("CREATE DEFINER=passing@`%` FUNCTION g() RETURNS int DETERMINISTIC RETURN 1", name)
    pair.one.sql("GRANT ALL ON *.* TO passing@`%`; CREATE DEFINER=passing@`%` VIEW calls AS SELECT g() AS g", name)
    pair.one.sql("DROP USER passing@`%`")
    made = pair.product.ok("backup", "--instance", "one", "--database", name)
    (file,) = pair.product.base_path.rglob("unresolved_*.sql.gz")
    text = gzip.decompress(file.read_bytes())
    assert b"what_was_meant" in text
    shown = pair.product.ok("backups", "show", made["backups"][0]["id"])
    for view in ("broken", "calls"):
        assert any(view in warning for warning in (shown.get("backup") or shown)["warnings"])
    pair.product.ok("restore", "--instance", "one", "--database", name, "--latest", "--target-instance", "two")
    assert pair.two.sql("SHOW FULL TABLES WHERE Table_type = 'VIEW'", name) == [("fine", "VIEW")]
    pair.one.drop_database(name)
