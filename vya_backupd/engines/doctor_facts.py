"""What the doctor learns of a server, whatever its vendor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vya_backupd.model.finding import Finding, broken, doubtful, fine
from vya_backupd.model.instance import Instance, Lack

SEE = "Have an administrator of the server run the SQL that goes with this."
"""The hint of a finding with SQL."""
_CLOCK_SLACK = timedelta(seconds=60)
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Line:
    """A connection, as both of its ends see it. ``tls`` is the protocol's version, empty without TLS."""

    tls: str
    server_time: datetime


def listed(names: Sequence[str], limit: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(sorted(names)[:limit]) + more


def lack(found: Lack, database: str) -> Finding:
    """A right that is missing: a failure where one can be given."""
    return (broken if found.sql else doubtful)("rights", found.text, SEE * bool(found.sql), database, found.sql)


def connection(instance: Instance, line: Line) -> Finding:
    """Whether what goes over the network is encrypted."""
    if line.tls:
        return fine("tls", f"the connection is encrypted ({line.tls})")
    if instance.socket is not None or (instance.host or "localhost") in _LOCAL:
        return fine("tls", "the connection stays on this machine, without TLS")
    return doubtful(
        "tls",
        f"passwords and data go to {instance.host} unencrypted",
        'Give the server a certificate, and the instance "ssl": {"enabled": true, "mode": "verify-full"}.',
    )


def clock(line: Line, now: datetime) -> Finding:
    """Whether server and we agree about the time."""
    apart = line.server_time - now
    if abs(apart) <= _CLOCK_SLACK:
        return fine("clock", "the server's clock agrees with ours")
    word = "ahead of" if apart > timedelta(0) else "behind"
    return doubtful(
        "clock",
        f"the server's clock is {abs(apart).total_seconds():.0f} s {word} ours",
        "Backups are named and kept by our clock. Synchronise both machines.",
    )


def coverage(instance: Instance, seen: Sequence[str]) -> list[Finding]:
    """Databases that nobody backs up, and those that are named and not there."""
    uncovered = [name for name in seen if not instance.covers(name) and not instance.leaves_out(name)]
    absent = [name for name in instance.databases if not set(name) & set("*?[") and name not in seen]
    findings = []
    if absent:
        findings.append(
            broken(
                "databases",
                f"named in the credentials file, but not to be seen on the server: {listed(absent)}",
                "Dropped or renamed databases can go from the list; otherwise the account lacks rights on them.",
            )
        )
    if uncovered:
        findings.append(
            doubtful(
                "databases",
                f"on the server, neither backed up nor excluded: {listed(uncovered)}",
                'Add them to "database" in the credentials file, or to "exclude_databases".',
            )
        )
    covered = sum(map(instance.covers, seen))
    if not covered and not absent:
        findings.append(doubtful("databases", "the server has no database that would be backed up"))
    return findings or [fine("databases", f"{covered} of {len(seen)} databases are covered, the others left out")]
