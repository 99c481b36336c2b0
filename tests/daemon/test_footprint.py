"""What a daemon at rest keeps in memory: no library that it may never need, and nothing that it can give back."""

from __future__ import annotations

import subprocess
import sys

_LATE = (
    "alembic",
    "asyncmy",
    "psycopg",
    "rich.console",
    "sqlalchemy.orm",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql",
)
"""Libraries of megabytes: wanted by migrations, by the first server of a kind, or by nobody."""

_INEXACT = 1024
"""KiB by which the kernel's count may be wrong, since each core keeps a part of it; what is given back is much more."""

_IMPORT = """
import sys
from vya_backupd.__main__ import _import_lightly
_import_lightly()
import vya_backupd.app
print(*(name for name in {late!r} if sys.modules.get(name)))
"""

_GIVE_BACK = """
import hashlib, pathlib, ssl, sys
import vya_backupd.app
from vya_backupd.daemon import footprint

def code():
    fields = dict(line.split(":") for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssFile"].split()[0])

before = code()
footprint.settle()
footprint.settle()
young = code()
footprint.STANDING_SECONDS = 0
footprint.settle()
after = code()
assert hashlib.sha256(b"abc").hexdigest().startswith("ba7816bf")
assert ssl.create_default_context()
print(before, young, after)
"""


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_daemon_starts_without_what_it_may_never_need() -> None:
    assert python(_IMPORT.format(late=_LATE)) == ""


def test_code_that_is_given_back_returns_when_called() -> None:
    before, young, after = map(int, python(_GIVE_BACK).split())
    assert young > before - _INEXACT, "what was only just loaded stays"
    assert after < before
