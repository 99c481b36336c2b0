"""Users, roles and grants of MySQL and MariaDB come back with their passwords, onto a new server and onto a used one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ServerPool, _labels
from vya_backupd.engines.mysql_globals import quoted_account
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

APP = "globals app_db"
PASSWORD = "pä\\'\"`s $;-- #"
_LITERAL = "'" + PASSWORD.replace("\\", "\\\\").replace("'", "''") + "'"
_PLAIN, _ODD = "gl plain", "gl `odd` 'user'"
_ACCOUNTS = [
    (_PLAIN, "%"),
    (_ODD, "127.0.0.1"),
    ("gl locked", "%"),
    ("gl expired", "%"),
    ("gl tls", "%"),
    ("", "10.9.8.7"),
]

_COMMON = [
    f"CREATE DATABASE `{APP}`",
    f"CREATE TABLE `{APP}`.t (a int, b int, c int)",
    f"CREATE PROCEDURE `{APP}`.`p``p`() SELECT 1",
    f"CREATE USER `{_PLAIN}`@`%` IDENTIFIED BY {_LITERAL}",
    f"CREATE USER {quoted_account(_ODD, '127.0.0.1')} IDENTIFIED BY {_LITERAL} WITH MAX_QUERIES_PER_HOUR 500",
    "CREATE USER `gl locked`@`%` IDENTIFIED BY 'x' ACCOUNT LOCK",
    "CREATE USER `gl expired`@`%` IDENTIFIED BY 'x' PASSWORD EXPIRE",
    "CREATE USER `gl tls`@`%` IDENTIFIED BY 'x' REQUIRE SUBJECT '/CN=it''s' AND ISSUER '/C=BR/O=a'",
    "CREATE USER ``@`10.9.8.7`",
    "CREATE ROLE `gl reader`, `gl ``writer`",
    "GRANT SELECT ON `globals app\\_db`.* TO `gl reader`",
    f"GRANT INSERT, UPDATE (b, c) ON `{APP}`.t TO `gl ``writer`",
    f"GRANT EXECUTE ON PROCEDURE `{APP}`.`p``p` TO `{_PLAIN}`@`%` WITH GRANT OPTION",
    f"GRANT `gl reader` TO `{_PLAIN}`@`%`",
    f"GRANT `gl ``writer` TO `{_PLAIN}`@`%`",
    f"GRANT `gl reader` TO {quoted_account(_ODD, '127.0.0.1')} WITH ADMIN OPTION",
    f"GRANT PROCESS, RELOAD ON *.* TO {quoted_account(_ODD, '127.0.0.1')}",
    "GRANT CREATE, DROP ON `gl %_own`.* TO `gl locked`@`%` WITH GRANT OPTION",
]
_OF = {
    "mysql": [
        f"SET DEFAULT ROLE `gl reader`, `gl ``writer` TO `{_PLAIN}`@`%`",
        f"ALTER USER `{_PLAIN}`@`%` COMMENT 'it''s; a \"comment\"'",
        "ALTER USER `gl expired`@`%` FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 2 PASSWORD HISTORY 5",
        f"GRANT BACKUP_ADMIN ON *.* TO `{_PLAIN}`@`%` WITH GRANT OPTION",
        f"GRANT PROXY ON `gl locked`@`%` TO `{_PLAIN}`@`%`",
        f"CREATE USER `gl second`@`%` IDENTIFIED WITH caching_sha2_password BY {_LITERAL}",
    ],
    "mariadb": [
        f"SET DEFAULT ROLE `gl reader` FOR `{_PLAIN}`@`%`",
        "GRANT `gl ``writer` TO `gl reader`",
        f"CREATE USER `gl second`@`%` IDENTIFIED VIA mysql_native_password USING PASSWORD({_LITERAL})",
        f"CREATE USER `gl socket`@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD({_LITERAL})",
        "CREATE USER `gl days`@`%` IDENTIFIED BY 'x' PASSWORD EXPIRE INTERVAL 90 DAY",
    ],
}


@dataclass(frozen=True)
class Moved:
    one: PrivateServer
    two: PrivateServer
    notes: list[str]
    product: Product

    def accounts(self) -> list[tuple[str, str]]:
        more = [("gl second", "%")]
        if self.one.kind == "mariadb":
            more += [("gl socket", "localhost"), ("gl days", "%")]
        return _ACCOUNTS + more


def _roles(server: PrivateServer) -> list[str]:
    host = "" if server.kind == "mariadb" else "@`%`"
    return [f"`gl reader`{host}", f"`gl ``writer`{host}"]


def _clear(server: PrivateServer) -> None:
    rows = server.sql("SELECT User, Host FROM mysql.user WHERE User LIKE 'gl %' OR User = ''")
    for user, host in rows:
        if server.kind == "mariadb" and not host:
            server.sql(f"DROP ROLE {quoted_account(user, '')}")
        else:
            server.sql(f"DROP USER {quoted_account(user, host)}")
    server.drop_database(APP)


@pytest.fixture(scope="module", params=_labels("mariadb", "mysql"))
def moved(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Moved]:
    """Everything of a server, on a new one that has one of the accounts already."""
    one, root = server_pool.get(request.param), tmp_path_factory.mktemp("globals")
    _clear(one)
    one.sql(";\n".join(_COMMON + _OF[one.kind]))
    with one.spec.start(root) as two:
        two.sql(f"CREATE USER `{_PLAIN}`@`%` IDENTIFIED BY 'another' ACCOUNT LOCK")
        entries = [instance(one, "one", database=[APP]), instance(two, "two")]
        with Product(root / "product", entries, servers=[one]) as product:
            product.ok("backup", "--instance", "one")
            done = product.ok("restore", "--instance", "one", "--all", "--globals", "--target-instance", "two", "--yes")
            two.admin_password = one.admin_password  # root@localhost was there, and got the recorded one
            notes = [note for each in done["restored"] for note in each.get("notes", [])]
            yield Moved(one, two, notes, product)
    _clear(one)


def _told(server: PrivateServer, account: str, *, role: bool = False) -> list[str]:
    create = [] if role and server.kind == "mariadb" else server.sql(f"SHOW CREATE USER {account}")
    return sorted(line for (line, *_) in [*create, *server.sql(f"SHOW GRANTS FOR {account}")])


def test_every_account_is_the_same_on_the_other_server(moved: Moved) -> None:
    for server in (moved.one, moved.two):
        if server.kind == "mysql":
            server.sql("SET PERSIST print_identified_with_as_hex = ON")
    for user, host in moved.accounts():
        account = quoted_account(user, host)
        assert _told(moved.two, account) == [line for line in _told(moved.one, account) if "GRANT PROXY" not in line]
    for role in _roles(moved.one):
        assert _told(moved.two, role, role=True) == _told(moved.one, role, role=True)


def test_a_right_that_the_restoring_account_cannot_give_is_named(moved: Moved) -> None:
    if moved.one.kind == "mysql":
        assert any("PROXY" in note and _PLAIN in note for note in moved.notes)


def test_restored_users_log_in_with_their_passwords(moved: Moved) -> None:
    assert moved.two.can_login(_PLAIN, PASSWORD)
    assert moved.two.can_login(_ODD, PASSWORD)
    assert moved.two.can_login("gl second", PASSWORD)
    assert not moved.two.can_login(_PLAIN, "another")
    assert not moved.two.can_login("gl locked", "x")


def test_roles_are_active_at_login(moved: Moved) -> None:
    rows = moved.two.sql(f"SELECT COUNT(*) FROM `{APP}`.t", user=_PLAIN, password=PASSWORD)
    assert rows == [("0",)]


def test_a_password_by_ed25519_lets_in(moved: Moved) -> None:
    one, two = moved.one, moved.two
    if one.kind != "mariadb" or not (Path(one.sql("SELECT @@plugin_dir")[0][0]) / "auth_ed25519.so").exists():
        pytest.skip("this server has no plugin auth_ed25519; MariaDB's own packages have it")
    for server in (one, two):
        server.sql("INSTALL SONAME 'auth_ed25519'")
    one.sql(f"CREATE USER `gl ed`@`%` IDENTIFIED VIA ed25519 USING PASSWORD({_LITERAL})")
    moved.product.ok("backup", "--instance", "one")
    moved.product.ok("restore", "--instance", "one", "--globals", "--latest", "--target-instance", "two", "--yes")
    assert two.can_login("gl ed", PASSWORD)


def test_an_account_that_was_there_is_named(moved: Moved) -> None:
    assert any(_PLAIN in note for note in moved.notes)
