"""Are there known holes in what we depend on? ``python -m tests.deployment.advisories`` asks, where somebody answers.

pip-audit compares the versions that are installed with the advisories of the Python Packaging Authority. It asks PyPI
itself, and where that is a mirror without advisories, osv.dev. With neither, nothing is known, and that is said: a
machine that cannot ask has audited nothing, whatever its exit status.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from vya_backupd.testing.cache import server_cache

_PACKAGE = "pip-audit>=2.9,<3"
_FOLDER = "audit-" + hashlib.sha256(f"{_PACKAGE}{sys.version_info[:2]}".encode()).hexdigest()[:12]
_SERVICES = ("pypi", "osv")
_SECONDS = 90
_OURS = "vya-backupdb"


def judge(report: dict[str, Any]) -> tuple[int, str]:
    """Exit status and words for what pip-audit found: 1 for known holes, 0 for none, 2 where nothing could be asked."""
    found = report.get("dependencies", [])
    asked = [each for each in found if "skip_reason" not in each]
    holes = [
        f"{each['name']} {each['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no release'}"
        for each in asked
        for hole in each["vulns"]
    ]
    left = sorted(each["name"] for each in found if "skip_reason" in each)
    if not asked:
        return 2, "NOT AUDITED: nobody who knows of advisories could be asked"
    lines = [*holes, f"{len(asked)} packages were compared, {len(holes)} known holes"]
    if left:
        lines.append(f"NOT AUDITED: {', '.join(left)}")
    return (1 if holes else 0), "\n".join(lines)


def installed() -> list[str]:
    """What is installed here beside ourselves, as requirements."""
    found = {each.metadata["Name"]: each.version for each in importlib.metadata.distributions()}
    return sorted(f"{name}=={version}" for name, version in found.items() if name.lower() != _OURS)


def _python() -> Path | None:
    """The Python that has pip-audit; None where it cannot be had."""
    folder = server_cache().parent / _FOLDER
    python = folder / "bin" / "python"
    if (folder / "there").exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    if subprocess.run([*pip, _PACKAGE], check=False, stdin=subprocess.DEVNULL).returncode:
        return None
    (folder / "there").touch()
    return python


def _report(python: Path, service: str, requirements: Path) -> dict[str, Any]:
    ask = [str(python), "-m", "pip_audit", "--vulnerability-service", service, "--format", "json", "--no-deps"]
    try:
        done = subprocess.run(
            [*ask, "--disable-pip", "--progress-spinner", "off", "--requirement", str(requirements)],
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        report: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return {}
    return report


def main() -> int:
    """Ask, and say what came of it. 1 only for known holes: a machine without advisories builds all the same."""
    python, verdict = _python(), judge({})
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("\n".join(installed()) + "\n")
        for service in _SERVICES:
            if python is None:
                break
            verdict = judge(_report(python, service, requirements))
            if verdict[0] != 2:
                break
    print(verdict[1], flush=True)
    return 1 if verdict[0] == 1 else 0


if __name__ == "__main__":
    sys.exit(main())
