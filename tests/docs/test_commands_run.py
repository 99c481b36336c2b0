"""Every command line that a page shows is typed, against a daemon with a server of the names that the pages use.

README and runbook have tests of their own, which also compare what is printed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.conftest import StartServer
from tests.observe.peers import MailPeer
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("commands.md", "audit.md", "doctor.md", "retention.md", "schedules.md", "limits.md", "installation.md")
_LINE = re.compile(r"^(?:\$ )?(vyactl [^\n]*?)(?: +#[^\n]*)?$", re.MULTILINE)
_NEEDS_A_TERMINAL = {"vyactl restore --interactive", "vyactl status --watch"}
"""They ask, or go on for ever; tests/client/test_terminal.py and test_status.py run them."""
_ASKS = re.compile(r"vyactl (restore (?!--list|--dry)|backups delete|retention apply)")
_MAY_FAIL = {"doctor": {0, 1}, "health": {0, 1}}
"""Their exit code is their answer, which depends on the machine."""


@dataclass
class Scene:
    """A daemon, and a folder with the files that the pages name."""

    product: Product
    folder: Path
    dump: Path
    other: PrivateServer

    def typed(self, line: str) -> str:
        """The line as somebody would type it here: with ids, dates to come and files of this machine."""
        replaced = {
            r"\b202[67]-(\d\d-\d\d)": r"2099-\1",
            r"/srv/old/shop\.sql\.gz": str(self.dump),
            r"/etc/vya_backupdb/config\.yaml": str(self.product.config_path),
            r"/etc/vya_backupdb": str(self.folder),
            r"--file audit\.log\.2\.gz --file audit\.log\.1 --file audit\.log": "--file audit.log",
        }
        if re.search(r"\bID\b|/var/backups/", line):
            newest = self.product.ok("backups", "list", "--database", "shop")["backups"][0]
            operation = self.product.ok("operations", "list")["operations"][0]
            replaced |= {r"/var/backups/\S*\.gz": newest["file"]}
            replaced |= {r"\bID\b": (operation if line.startswith("vyactl operations") else newest)["id"]}
        for pattern, value in replaced.items():
            line = re.sub(pattern, value, line)
        return f"{line} --yes" if _ASKS.match(line) and "--yes" not in line else line

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Type it. The server to restore onto is an empty one each time."""
        for name in ("shop", "crm") if "new-pg" in line else ():
            self.other.drop_database(name)
        shutil.copy(self.product.state_dir / "audit.log", self.folder / "audit.log")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("VYA_", "PG"))}
        environ |= {
            "PATH": f"{Path(sys.executable).parent}:{environ.get('PATH', '')}",
            "VYA_CONFIG": str(self.product.config_path),
            "VYA_SOCKET": str(self.product.socket_path),
            "CREDENTIALS_DIRECTORY": str(self.folder / "systemd"),
        }
        words = ["bash", "-c", self.typed(line)]
        return subprocess.run(words, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)


def lines() -> list[str]:
    """All lines, each once, in the order of the pages; those that need the daemon out of the way come last."""
    found = [line.strip() for page in PAGES for line in _LINE.findall((DOCS / page).read_text())]
    return sorted(dict.fromkeys(found), key=lambda line: "--standalone" in line)


@pytest.fixture
def scene(start_server: StartServer, tmp_path: Path) -> Iterator[Scene]:
    root, folder = tmp_path / "product", tmp_path / "here"
    root.mkdir()
    server, other = start_server("postgresql-18"), start_server("postgresql-18")
    for name in ("shop", "crm"):
        server.create_database(name)
        for table in ("orders", "items"):
            server.sql(f"create table {table} as select generate_series(1, 1000) as i", name)
    _files(folder, server)
    with MailPeer() as mail:
        email = {
            "enabled": True,
            "smtp_host": "127.0.0.1",
            "smtp_port": mail.port,
            "use_tls": False,
            "from_address": "backup@example.com",
            "error_recipients": ["ops@example.com"],
        }
        entries = [instance(server, "prod-pg"), instance(other, "new-pg")]
        config = {"notifications": {"email": email}, "scheduling": {"enabled": True}}
        with Product(root, entries, servers=[server, other], config=config) as product:
            shutil.copy(product.config_path, folder / "config.yaml")
            dump = folder / "shop.sql.gz"
            product.ok("backup", "--instance", "prod-pg")
            shutil.copy(product.ok("backups", "list", "--database", "crm")["backups"][0]["file"], dump)
            yield Scene(product, folder, dump, other)


def _files(folder: Path, server: PrivateServer) -> None:
    (folder / ".secrets").mkdir(parents=True)
    (folder / "systemd").mkdir()
    key = folder / "systemd" / "vya-backupdb-key"
    key.touch(mode=0o600)
    key.write_bytes(Fernet.generate_key())
    plain = folder / "plain.json"
    plain.touch(mode=0o600)
    plain.write_text(json.dumps({"databases": [instance(server, "prod-pg")]}, default=str))


def test_the_pages_have_lines_to_type() -> None:
    assert len(lines()) > 60
    assert set(lines()) >= _NEEDS_A_TERMINAL


def test_every_line_of_the_pages_does_what_it_says(scene: Scene) -> None:
    wrong = []
    for line in lines():
        if line in _NEEDS_A_TERMINAL:
            continue
        if "--standalone" in line and scene.product.daemon is not None:
            scene.product.stop()
        done = scene.run(line)
        word = line.removeprefix("vyactl ").removeprefix("-o json ").partition(" ")[0]
        if done.returncode not in _MAY_FAIL.get(word, {0}):
            wrong.append(f"{line}\n  as {done.args[2]}\n  exit {done.returncode}: {done.stderr.strip()[-400:]}")
    assert not wrong, "\n".join(wrong)
