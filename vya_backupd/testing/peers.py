"""Programs of others that tests meet for real, beside the database servers: what watches us, and what checks our files.

Each is a Debian package. ``provision`` installs the missing ones as root, and unpacks them into the cache otherwise.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from vya_backupd.testing.cache import readable_caches


@dataclass(frozen=True, slots=True)
class Peer:
    """A program: the package that has it, and its path in there."""

    package: str
    path: str


PEERS: dict[str, Peer] = {
    "prometheus": Peer("prometheus", "usr/bin/prometheus"),
    "promtool": Peer("prometheus", "usr/bin/promtool"),
    "prometheus-pushgateway": Peer("prometheus-pushgateway", "usr/bin/prometheus-pushgateway"),
    "logrotate": Peer("logrotate", "usr/sbin/logrotate"),
    "systemd-analyze": Peer("systemd", "usr/bin/systemd-analyze"),
}
"""What the tests want, by the program's name."""

FOLDER = "peers"
"""The folder of the cache that unpacked ones are in, with scripts to run them in its ``bin``."""


def find_peer(name: str) -> Path | None:
    """The program, from the system or from the cache."""
    places = [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"]
    places += [str(cache / FOLDER / "bin") for cache in readable_caches()]
    found = shutil.which(name, path=":".join(filter(None, places)))
    return Path(found) if found else None


def missing_peers() -> dict[str, str]:
    """The wanted programs that are not there, each with the way to get it."""
    return {
        name: f"make servers (Debian's package {peer.package})"
        for name, peer in PEERS.items()
        if find_peer(name) is None
    }
