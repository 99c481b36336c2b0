"""What the doctor asks of a MySQL or MariaDB server, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vya_backupd.engines.doctor_facts import listed
from vya_backupd.model.finding import Finding, doubtful, fine
from vya_backupd.model.instance import EngineKind

LINE = "SHOW SESSION STATUS LIKE 'Ssl_version'"
CLOCK = "SELECT UNIX_TIMESTAMP(NOW(6))"
VARIABLES = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('max_allowed_packet', 'log_bin', 'gtid_mode',"
    " 'log_bin_trust_function_creators', 'max_execution_time', 'max_statement_time')"
)
LOOSE = """
    SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES
     WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE IS NOT NULL
       AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')
       AND UPPER(ENGINE) NOT IN ('INNODB', 'ROCKSDB', 'TOKUDB', 'XTRADB', 'NDBCLUSTER')
"""
_SMALL_PACKET = 16 << 20


@dataclass(frozen=True, slots=True)
class Variables:
    """Global variables by name, as the server prints them; those that it does not know are absent."""

    values: dict[str, str]

    def number(self, name: str) -> float:
        """A number; 0 where there is none."""
        return float(self.values.get(name, "0"))

    def is_on(self, name: str) -> bool:
        """A switch."""
        return self.values.get(name, "OFF").upper() in ("ON", "1")


def loose_tables(database: str, tables: Sequence[str]) -> Finding:
    """Tables whose rows a transaction does not hold still."""
    return doubtful(
        "engines",
        f"not transactional, may change while being dumped: {listed(tables)}",
        "Convert them with ALTER TABLE ... ENGINE=InnoDB, which rebuilds each table, or see that nobody writes to them "
        "during a backup.",
        database,
    )


def settings_findings(kind: EngineKind, variables: Variables) -> Iterator[Finding]:
    """What of the server's settings touches dumps and restores."""
    packet = int(variables.number("max_allowed_packet"))
    if packet < _SMALL_PACKET:
        yield doubtful(
            "settings",
            f"max_allowed_packet is {packet:,} bytes: a restore with longer rows is refused",
            "Set it to 64M or more.",
        )
    if variables.is_on("log_bin") and not variables.is_on("log_bin_trust_function_creators"):
        yield fine("settings", "binary logging is on: restoring functions and triggers needs an administrator")
    limit = "max_execution_time" if kind is EngineKind.MYSQL else "max_statement_time"
    if variables.number(limit):
        yield fine("settings", f"dumps switch this off for themselves: {limit} {variables.values[limit]}")
    gtid = variables.values.get("gtid_mode", "OFF")
    yield fine("settings", f"max_allowed_packet {packet:,} bytes" + (", GTIDs stay out of dumps" * (gtid != "OFF")))
