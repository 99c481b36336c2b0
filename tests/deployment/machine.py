"""A small machine in a folder, for services that expect to be at home: users, folders and programs as on a real one.

User, groups and folders are made by the commands of the installation page, which are systemd's own tools. ``/opt/vya`` is a virtual environment with the product's wheel in it, made inside the
machine; other people's packages are borrowed from the environment that runs the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
PAGE = ROOT / "docs/installation.md"
_BLOCKS = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FOLDERS = (
    "dev",
    "etc/cron.d",
    "etc/sysusers.d",
    "etc/systemd/system",
    "etc/tmpfiles.d",
    "opt",
    "proc",
    "root",
    "run/credentials",
    "run/systemd",
    "tmp",
    "usr",
    "var/lib",
    "var/log",
)
_LINKS = ("bin", "sbin", "lib", "lib64", "lib32")


@dataclass(frozen=True, slots=True)
class Machine:
    """``root`` is its file system as seen from here; ``lent`` are folders of this machine that it sees, read-only."""

    root: Path
    lent: tuple[Path, ...] = field(default=())

    def at(self, path: str) -> Path:
        """Where a path of the machine lies here."""
        return self.root / path.lstrip("/")

    def confined(self, unit: str, *, notify: str = "") -> list[str]:
        """The command that runs a unit's program on this machine under the unit's restrictions."""
        apart = ["unshare", "--mount", "--propagation", "private"]
        if "\nPrivateNetwork=yes" in (UNITS / unit).read_text():
            apart.append("--net")
        lent = [word for folder in self.lent for word in ("--lend", str(folder))]
        program = [sys.executable, "-m", "tests.deployment.confine", str(self.root), *lent]
        return [*apart, "--", *program, "--unit", str(UNITS / unit), *(["--notify", notify] if notify else [])]

    def inside(self, *command: str, lent: tuple[Path, ...] = ()) -> str:
        """Run a command on the machine as root, without restrictions, and return what it printed."""
        folders = [word for folder in (*self.lent, *lent) for word in ("--lend", str(folder))]
        program = [sys.executable, "-m", "tests.deployment.confine", str(self.root), *folders, "--command", *command]
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "--", *program],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ids(self, user: str) -> tuple[int, int]:
        """Number of a user of the machine and of his group."""
        for line in self.at("/etc/passwd").read_text().splitlines():
            name, _, uid, gid, *_ = line.split(":")
            if name == user:
                return int(uid), int(gid)
        raise KeyError(user)


def furnish(root: Path, wheel: Path, lent: tuple[Path, ...]) -> Machine:
    """Make the machine, with the product installed as ``docs/installation.md`` says."""
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    for name in _LINKS:
        if Path("/", name).exists():
            (root / name).symlink_to(f"usr/{name}")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    shutil.copy("/etc/ld.so.cache", root / "etc/ld.so.cache")
    machine = Machine(root, (*_needed_by_python(), *lent))
    (accounts,) = [block for block in _BLOCKS.findall(PAGE.read_text()) if "\nsystemd-sysusers " in block]
    machine.inside("/bin/sh", "-ec", f"cd {ROOT}\n{accounts}", lent=(UNITS,))
    _install(machine, wheel)
    return machine


def _needed_by_python() -> tuple[Path, ...]:
    """The interpreter and the packages of this environment, where they are not in /usr, which every machine has."""
    folders = [Path(sys.base_prefix), *map(Path, site.getsitepackages())]
    return tuple(folder for folder in folders if not folder.is_relative_to("/usr"))


def _install(machine: Machine, wheel: Path) -> None:
    shutil.copy(wheel, machine.at("/opt"))
    python = Path(sys.base_prefix, "bin", "python3")
    machine.inside(str(python), "-m", "venv", "--without-pip", "/opt/vya")
    (packages,) = machine.at("/opt/vya").glob("lib/python3*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    pip = ("/opt/vya/bin/python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed")
    machine.inside(*pip, f"/opt/{wheel.name}")


def build_wheel(folder: Path) -> Path:
    """The product's wheel, from a copy of the sources: a build leaves its traces where it runs."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "vya_backupd", source / "vya_backupd", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)],
        check=True,
        env=dict(os.environ) | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    (wheel,) = folder.glob("*.whl")
    return wheel
