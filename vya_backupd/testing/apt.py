"""Debian packages unpacked into a folder, with everything they need, and run from there.

A private package index with an empty list of installed packages makes apt name every library down to libc. The
programs are then started through the folder's own dynamic loader, so that neither root nor a matching release of
the system is needed. Which mirror, proxy and keys are used is the machine's own configuration.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vya_backupd.errors import ToolError

# They come along as scripts' interpreters, and the scripts are not run.
_UNUSED = re.compile(r"^(perl|libperl|debconf|dpkg|tar_|mount|util-linux)")


@dataclass(frozen=True, slots=True)
class Source:
    """One line of apt's sources, in the one-line form."""

    line: str

    @staticmethod
    def of_machine(suite: str) -> Source:
        """``suite`` on the Debian mirror that this machine is configured for.

        Raises:
            ToolError: no Debian mirror is configured.
        """
        targets = _run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(SIGNED_BY)", "Created-By: Packages"])
        for target in targets.splitlines():
            uri, _, key = target.partition(" ")
            if uri.rstrip("/").endswith("/debian"):
                signed = f"[signed-by={key.strip()}] " if key.startswith("/") else ""
                return Source(f"deb {signed}{uri} {suite} main")
        raise ToolError(
            "apt's sources name no Debian mirror", code="tool_missing", hint="add one, or install the server yourself"
        )


class PackageFolder:
    """Downloads packages with all they depend on, and unpacks them."""

    def __init__(self, source: Source | None) -> None:
        """``source``: where from, instead of the machine's own sources."""
        self._source = source

    def unpack(self, packages: list[str], root: Path) -> None:
        """Unpack ``packages`` and their dependencies below ``root``.

        Raises:
            ToolError: apt or dpkg-deb failed; the message is what they said.
        """
        with tempfile.TemporaryDirectory(prefix="vya-apt-") as name:
            state = Path(name)
            environment = {**os.environ, "APT_CONFIG": str(self.configure(state)), "LC_ALL": "C"}
            _run(["apt-get", "-q", "update"], environment)
            _run(["apt-get", "-q", "-y", "--download-only", "install", *packages], environment)
            root.mkdir(parents=True, exist_ok=True)
            for archive in sorted((state / "archives").glob("*.deb")):
                if not _UNUSED.match(archive.name):
                    _run(["dpkg-deb", "-x", str(archive), str(root)])
        root.chmod(0o755)

    def configure(self, state: Path) -> Path:
        """An apt configuration of its own below ``state``; its path."""
        for folder in ("lists/partial", "archives/partial"):
            (state / folder).mkdir(parents=True)
        (state / "status").touch()
        lines = [
            f'Dir::State "{state}";',
            f'Dir::State::lists "{state}/lists";',
            f'Dir::State::status "{state}/status";',
            f'Dir::Cache "{state}";',
            f'Dir::Cache::archives "{state}/archives";',
            'APT::Sandbox::User "";',
            'APT::Install-Recommends "false";',
            'Acquire::Retries "3";',
            # A mirror frozen at a day serves indexes whose time is over; their signatures are checked all the same.
            'Acquire::Check-Valid-Until "false";',
        ]
        if self._source is not None:
            (state / "sources.list").write_text(self._source.line + "\n")
            lines += [f'Dir::Etc::sourcelist "{state}/sources.list";', 'Dir::Etc::sourceparts "-";']
        configuration = state / "apt.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return configuration


def fetch_source(source: Source, package: str, folder: Path) -> Path:
    """Download the files of a source package into a folder, which is returned.

    Raises:
        ToolError: apt failed; the message is what it said.
    """
    with tempfile.TemporaryDirectory(prefix="vya-apt-") as name:
        sources = Source(source.line.replace("deb ", "deb-src ", 1))
        configured = PackageFolder(sources).configure(Path(name))
        environment = {**os.environ, "APT_CONFIG": str(configured), "LC_ALL": "C"}
        _run(["apt-get", "-q", "update"], environment)
        _run(["apt-get", "-q", "source", "--download-only", package], environment, folder)
    return folder


def write_wrappers(root: Path, bindir: Path, programs: dict[str, str], options: dict[str, list[str]]) -> None:
    """Scripts in ``bindir`` that run programs of ``root`` (name → path in it) through its own loader.

    ``options`` are appended to a program's arguments. The scripts become the program: same pid, same signals.
    """
    loader = next(iter(sorted(root.glob("usr/lib/*-linux-gnu/ld-linux*.so.*"))), None) or next(
        iter(sorted(root.glob("lib/*-linux-gnu/ld-linux*.so.*")))
    )
    triplet = loader.parent.name
    libraries = ":".join(str(root / folder / triplet) for folder in ("usr/lib", "lib"))
    bindir.mkdir(parents=True, exist_ok=True)
    for name, path in programs.items():
        more = " ".join(f'"{option}"' for option in options.get(name, []))
        script = bindir / name
        script.write_text(f'#!/bin/sh\nexec "{loader}" --library-path "{libraries}" "{root / path}" "$@" {more}\n')
        script.chmod(0o755)


def _run(command: list[str], environment: dict[str, str] | None = None, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL, cwd=folder
        )
    except FileNotFoundError:
        raise ToolError(f"{command[0]} is not installed", code="tool_missing", hint="this works on Debian") from None
    if done.returncode != 0:
        raise ToolError(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace').strip()[-2000:]}")
    return done.stdout.decode(errors="replace")
