"""Every section of the runbook, its commands typed on a machine on which the thing has happened.

The shell has the runbook's own words: ``systemctl`` starts and stops a real daemon of the test's, the folders of an
installation are those of the test, and the first failing command ends it.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

PAGE = (Path(__file__).parents[2] / "docs/runbook.md").read_text()
_SECTIONS = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)
SECTIONS = dict(zip(_SECTIONS[1::2], _SECTIONS[2::2], strict=True))
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROLOGUE = """
set -e
systemctl() {
    if [ "$1" != start ]; then
        kill -TERM "$(cat daemon.pid)"
        while grep -q '^State:.[^Z]' "/proc/$(cat daemon.pid)/status" 2>/dev/null; do sleep 0.05; done
    fi
    if [ "$1" != stop ]; then
        setsid vya-backupd >>daemon.log 2>&1 </dev/null & echo $! >daemon.pid
        until vyactl operations list >start.log 2>&1; do kill -0 "$(cat daemon.pid)"; done
    fi
}
"""
_COUNT = "SELECT count(*), sum(n), min(word) FROM goods"


class Place:
    """An installation, and a shell in which the runbook is typed. Its daemon runs from the beginning."""

    def __init__(self, product: Product, server: PrivateServer) -> None:
        self.product, self.server, self.root = product, server, product.root
        self.folders = {
            "/etc/vya_backupdb": str(product.root),
            "/var/lib/vya_backupdb": str(product.state_dir),
            "/var/backups": str(product.root),
            "/srv/old": str(product.root / "old"),
        }

    def type(self, section: str, **variables: str) -> str:
        """Run all commands of a section; what they printed. The section is used up: each is typed once."""
        blocks = _BLOCK.findall(SECTIONS[section])
        assert blocks, section
        return self.run("".join(blocks), **variables)

    def run(self, text: str, **variables: str) -> str:
        for path, ours in self.folders.items():
            text = text.replace(path, ours)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VYA_")}
        environment = kept | {
            "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
            "VYA_CONFIG": str(self.product.config_path),
            "VYA_SOCKET": str(self.product.socket_path),
        }
        done = subprocess.run(
            ["bash", "-c", _PROLOGUE + text],
            cwd=self.root,
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        log = (self.root / "daemon.log").read_text() if (self.root / "daemon.log").exists() else ""
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}\n{log[-3000:]}"
        return done.stdout

    def backups(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.product.ok("backups", "list")["backups"]
        return found


@pytest.fixture
def place(start_server: StartServer, tmp_path: Path) -> Iterator[Place]:
    server = start_server("postgresql-18")
    server.create_database("shop")
    server.sql("CREATE TABLE goods AS SELECT n, md5(n::text) AS word FROM generate_series(1, 3000) n", "shop")
    place = Place(Product(tmp_path / "p", [instance(server, "prod-pg")], servers=[server]), server)
    place.run("systemctl start; vyactl backup")
    yield place
    place.run("systemctl stop || true")


def test_every_section_that_has_commands_is_typed_here() -> None:
    here = Path(__file__).read_text()
    for title, text in SECTIONS.items():
        assert not _BLOCK.search(text) or f'type("{title}"' in here, title
    assert len([title for title, text in SECTIONS.items() if _BLOCK.search(text)]) == 7


def test_a_wrecked_database_is_replaced(place: Place) -> None:
    whole = place.server.sql(_COUNT, "shop")
    place.server.sql("DELETE FROM goods WHERE n > 7", "shop")
    place.type("Restore at three in the morning")
    assert place.server.sql(_COUNT, "shop") == place.server.sql(_COUNT, "shop_check") == whole


def test_a_lost_catalog_is_made_anew(place: Place) -> None:
    place.product.ok("backups", "hold", place.backups()[0]["id"], "--note", "kept")
    before = place.backups()
    place.type("The catalog is lost")
    after = place.backups()
    assert [each | {"proof": ""} for each in after] == [each | {"proof": ""} for each in before]
    assert {each["proof"] for each in after} == {"verified"}


def test_a_lost_key_costs_no_backup(place: Place) -> None:
    before = place.backups()
    (place.root / "credentials.key").unlink()
    plain = place.root / "plain.json"
    plain.touch(0o600)
    plain.write_text(json.dumps({"databases": place.product.instances}))
    said = place.type("The key is lost")
    assert re.search(r"prod-pg +ok", said)
    assert place.backups() == before
    place.product.ok("backup", "--database", "shop")


def test_a_new_machine_and_a_new_server_get_everything_back(place: Place, start_server: StartServer) -> None:
    place.server.sql("CREATE ROLE seller LOGIN PASSWORD 'old one'; GRANT SELECT ON goods TO seller", "shop")
    whole = place.server.sql(_COUNT, "shop")
    place.run("vyactl backup; systemctl stop; rm -r /var/lib/vya_backupdb")
    place.server.stop()
    new = start_server("postgresql-18")
    place.product.instances.append(instance(new, "new-pg"))
    place.product.write_credentials()
    place.type("The machine is lost")
    assert new.sql(_COUNT, "shop") == whole
    assert new.sql(_COUNT, "shop", user="seller", password="old one") == whole
    place.server.start()


def test_room_is_made_and_the_next_backup_succeeds(place: Place) -> None:
    place.product.ok("backup", "--database", "shop")
    listed = [each for each in place.backups() if each["database"] == "shop"]
    oldest = min(listed, key=lambda each: each["taken_at"])["id"]
    place.type("The disk is full", OLDEST=oldest)
    left = [each["id"] for each in place.backups() if each["database"] == "shop"]
    assert oldest not in left
    assert left


def test_a_dump_of_a_script_is_restored_beside(place: Place) -> None:
    old = place.root / "old"
    old.mkdir()
    dump = [str(place.server.tools["pg_dump"]), "-h", place.server.host, "-p", str(place.server.port)]
    environment = os.environ | {"PGPASSWORD": place.server.admin_password}
    made = subprocess.run(
        [*dump, "-U", place.server.admin_user, "shop"], env=environment, capture_output=True, check=True
    )
    (old / "shop.sql.gz").write_bytes(gzip.compress(made.stdout))
    place.type("Coming from scripts")
    assert place.server.sql(_COUNT, "shop_2024") == place.server.sql(_COUNT, "shop")


def test_credentials_of_an_earlier_installation_get_a_real_key(place: Place) -> None:
    credentials = place.root / "credentials.json"
    plain = place.root / "plain.json"
    plain.touch(0o600)
    plain.write_text(json.dumps({"databases": place.product.instances}))
    (place.root / "credentials.key").unlink()
    place.run(f"vyactl credentials encrypt --method hostname-based --input plain.json --output {credentials}")
    assert json.loads(credentials.read_text())["encryption"]["key_derivation"] == "hostname-based"
    place.run("systemctl restart; vyactl config test-connections")
    place.type("Coming from an earlier installation")
    assert json.loads(credentials.read_text())["encryption"]["key_derivation"] == "key-file"
    assert (place.root / "credentials.key").stat().st_mode & 0o777 == 0o600
    place.run("vyactl config test-connections")
