"""The engine of each kind of server."""

from __future__ import annotations

from vya_backupd.engines.base import Engine
from vya_backupd.engines.mariadb import MariaDB
from vya_backupd.engines.mysql import MySQL
from vya_backupd.engines.postgresql import PostgreSQL
from vya_backupd.model.instance import EngineKind

ENGINES: dict[EngineKind, Engine] = {
    EngineKind.POSTGRESQL: PostgreSQL(),
    EngineKind.MYSQL: MySQL(),
    EngineKind.MARIADB: MariaDB(),
}


def engine_for(kind: EngineKind) -> Engine:
    """The engine of this kind. Engines have no state: there is one of each."""
    return ENGINES[kind]
