from tests.engines.conftest import mysql_rig, postgresql_rig, rig

__all__ = ["mysql_rig", "postgresql_rig", "rig"]
