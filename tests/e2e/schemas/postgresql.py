"""The PostgreSQL schema of everything: how it gets onto a server."""

from __future__ import annotations

from pathlib import Path

from vya_backupd.testing.servers import PrivateServer

_HERE = Path(__file__).parent

PASSWORDS = {
    "app_owner": 'owner\'s "pass\\word"',
    "app_admin": "adm:in $dollar$ ; -- not a comment",
    'Weird "role".é; -- x': "pä ß密码",
}
"""The login roles of ``create_roles`` and their passwords."""

SETTINGS = {"allow_in_place_tablespaces": "on"}
"""Server settings that the tablespace needs: two servers on one machine cannot share a folder."""


def create_roles(server: PrivateServer) -> None:
    """Roles, memberships and a tablespace; once on each server."""
    server.sql(_text("roles"))


def create_everything(server: PrivateServer, database: str, options: str = "") -> None:
    """A database with one of everything, its own properties included."""
    server.create_database(database, options)
    server.sql(_text("everything"), database)
    server.sql(f"\\set name '{database}'\n{_text('database')}")


def _text(part: str) -> str:
    return (_HERE / f"postgresql_{part}.sql").read_text()
