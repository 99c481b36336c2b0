"""What a user can get wrong: each mistake has an error code, an exit code and a hint of its own."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.conftest import ServerPool
from tests.waiting import PATIENCE
from vya_backupd.config.keys import hostname_key
from vya_backupd.testing.product import Product, Ran, instance
from vya_backupd.testing.servers import PrivateServer


def the_error(ran: Ran) -> dict[str, Any]:
    """The one error of a run with ``--output json``: of the command, of its operation, or of its first failed step."""
    record = ran.json
    found = [record.get("error"), record.get("operation", {}).get("error")]
    found += [step["error"] for step in record.get("steps", [])]
    found += [each["error"] for each in record.get("connections", [])]
    return next(error for error in found if error)


@dataclass(frozen=True)
class Site:
    """A running product on one PostgreSQL server, and what the cases need to know of it."""

    product: Product
    server: PrivateServer
    backup: Mapping[str, Any]
    files: Path

    @property
    def words(self) -> dict[str, str]:
        return {
            "id": self.backup["id"],
            "held": self.product.ok("restore", "--list", "--database", "held")["backups"][0]["id"],
            "files": str(self.files),
        }


@pytest.fixture(scope="module")
def site(server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory, closed_port: int) -> Iterator[Site]:
    server = server_pool.get("postgresql")
    root = tmp_path_factory.mktemp("bad")
    good = instance(server, "good", database=["bad_shop", "held"])
    entries = [
        good,
        good | {"id": "wrong-password", "password": "not the password"},
        good | {"id": "wrong-user", "username": "nobody_here"},
        good | {"id": "down", "port": closed_port},
        good | {"id": "no-such-host", "host": "no-such-host.invalid"},
        good | {"id": "wants-tls", "ssl": {"enabled": True, "mode": "require"}},
        {key: value for key, value in good.items() if key != "host"}
        | {"id": "wants-socket", "socket": str(root / "nowhere")},
    ]
    for name in ("bad_shop", "held"):
        server.create_database(name)
        server.sql("create table t (a int); insert into t values (1)", name)
    with Product(root, entries, servers=[server]) as product:
        done = product.ok("backup", "--instance", "good", "--database", "bad_shop,held")
        backups = {backup["database"]: backup for backup in done["backups"]}
        product.ok("backups", "hold", backups["held"]["id"], "--note", "for the auditors")
        yield Site(product, server, backups["bad_shop"], _files(root / "files", product, backups["bad_shop"]["file"]))
    for name in ("bad_shop", "held"):
        server.drop_database(name)


def _files(folder: Path, product: Product, backup: str) -> Path:
    """Files that are no good backups."""
    folder.mkdir()
    source = Path(backup)
    assert source in product.files()
    (folder / "garbage.sql.gz").write_bytes(bytes(range(256)) * 40)
    (folder / "text.sql.gz").write_bytes(gzip.compress(b"dear diary\n" * 100))
    (folder / "empty.sql.gz").write_bytes(b"")
    (folder / "half.sql").write_text("--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE t (a int);\n")
    (folder / "folder.sql.gz").mkdir()
    whole = source.read_bytes()
    for name, content in (
        ("flipped", whole[:700] + bytes([whole[700] ^ 1]) + whole[701:]),
        ("short", whole[:-40]),
        ("long", whole + b"\0" * 10),
        ("lying", whole),
    ):
        (folder / f"{name}.sql.gz").write_bytes(content)
        manifest = source.with_name(source.name + ".metadata.json").read_bytes()
        if name == "lying":
            manifest = manifest.replace(b'"bad_shop"', b'"good_shop"', 1)
        (folder / f"{name}.sql.gz.metadata.json").write_bytes(manifest)
    return folder


RESTORE = ("restore", "--instance", "good", "--database", "bad_shop")
CASES: dict[str, tuple[tuple[str, ...], str, int]] = {
    "backup of an unknown instance": (("backup", "--instance", "god"), "unknown_instance", 4),
    "backup of an unknown database": (("backup", "-i", "good", "-d", "bad_ship"), "unknown_database", 4),
    "level that does not exist": (("backup", "--compression", "12"), "usage", 2),
    "option that does not exist": (("backup", "--compresion", "1"), "usage", 2),
    "refused password": (("backup", "-i", "wrong-password"), "login_refused", 1),
    "refused user": (("backup", "-i", "wrong-user"), "login_refused", 1),
    "server down": (("backup", "-i", "down"), "connection_refused", 1),
    "host without address": (("backup", "-i", "no-such-host"), "connection_refused", 1),
    "socket that is not there": (("backup", "-i", "wants-socket"), "connection_refused", 1),
    "TLS where there is none": (("backup", "-i", "wants-tls"), "tls_failed", 1),
    "connection test of a server that is down": (("config", "test-connections", "-i", "down"), "connection_refused", 1),
    "list of an unknown instance": (("backups", "list", "-i", "god"), "unknown_instance", 4),
    "restore of nothing in particular": (("restore", "-i", "good"), "usage", 2),
    "restore of an unknown instance": (("restore", "-i", "god", "-d", "x", "--latest"), "unknown_instance", 4),
    "restore of an unknown database": (("restore", "-i", "good", "-d", "x", "--latest"), "unknown_backup", 4),
    "restore to an unknown instance": ((*RESTORE, "--latest", "--target-instance", "god"), "unknown_instance", 4),
    "restore from before there was any": ((*RESTORE, "--datetime", "2001-01-01 00:00:00"), "no_backup_before", 4),
    "restore from no time": ((*RESTORE, "--datetime", "yesterday"), "usage", 2),
    "restore of an unknown backup": (("restore", "--backup", "20260101T000000-00000000"), "unknown_backup", 4),
    "restore onto what is there": ((*RESTORE, "--latest"), "target_not_empty", 6),
    "overwriting with nobody to ask": ((*RESTORE, "--latest", "--overwrite"), "confirmation_required", 2),
    "interactive with nobody to ask": (("restore", "--interactive"), "confirmation_required", 2),
    "restore over a system database": ((*RESTORE, "--latest", "--target-database", "template1"), "usage", 2),
    "restore as a reserved name": ((*RESTORE, "--latest", "--target-database", "@globals"), "usage", 2),
    "restore onto a server that is down": (
        (*RESTORE, "--latest", "--target-instance", "down", "--target-database", "x"),
        "connection_refused",
        1,
    ),
    "verify of a missing file": (("verify", "--file", "{files}/missing.sql.gz"), "file_not_found", 4),
    "verify of a folder": (("verify", "--file", "{files}/folder.sql.gz"), "file_not_found", 4),
    "verify of garbage": (("verify", "--file", "{files}/garbage.sql.gz"), "not_a_dump", 5),
    "verify of another text": (("verify", "--file", "{files}/text.sql.gz"), "not_a_dump", 5),
    "verify of nothing": (("verify", "--file", "{files}/empty.sql.gz"), "not_a_dump", 5),
    "verify of a flipped bit": (("verify", "--file", "{files}/flipped.sql.gz"), "damaged_file", 5),
    "verify of half a file": (("verify", "--file", "{files}/short.sql.gz"), "incomplete_file", 5),
    "verify of half a foreign dump": (("verify", "--file", "{files}/half.sql"), "incomplete_file", 5),
    "verify of more than the file": (("verify", "--file", "{files}/long.sql.gz"), "damaged_file", 5),
    "verify of a manifest that lies": (("verify", "--file", "{files}/lying.sql.gz"), "damaged_manifest", 5),
    "verify of an unknown instance": (("verify", "--instance", "god"), "unknown_instance", 4),
    "verify of an unknown backup": (("verify", "--backup", "20260101T000000-00000000"), "unknown_backup", 4),
    "restore of a missing file": (("restore", "--file", "{files}/missing.sql.gz"), "file_not_found", 4),
    "restore of a flipped bit": (
        ("restore", "--file", "{files}/flipped.sql.gz", "--target-instance", "good", "--target-database", "bad_new"),
        "damaged_file",
        5,
    ),
    "dry run of a flipped bit": (("restore", "--file", "{files}/flipped.sql.gz", "--dry-run"), "damaged_file", 5),
    "restore of garbage": (
        ("restore", "--file", "{files}/garbage.sql.gz", "--target-instance", "good", "--target-database", "bad_new"),
        "not_a_dump",
        5,
    ),
    "foreign file to nowhere": (("restore", "--file", "{files}/text.sql.gz"), "usage", 2),
    "unknown backup": (("backups", "show", "x"), "unknown_backup", 4),
    "hold of an unknown backup": (("backups", "hold", "x", "--note", "n"), "unknown_backup", 4),
    "release of an unknown backup": (("backups", "release", "x"), "unknown_backup", 4),
    "deletion of an unknown backup": (("backups", "delete", "x", "--yes"), "unknown_backup", 4),
    "deletion with nobody to ask": (("backups", "delete", "{id}"), "confirmation_required", 2),
    "deletion of what is held": (("backups", "delete", "{held}", "--yes"), "backup_in_use", 6),
    "unknown operation": (("operations", "show", "x"), "unknown_operation", 4),
    "watch of an unknown operation": (("operations", "watch", "x"), "unknown_operation", 4),
    "cancel of an unknown operation": (("operations", "cancel", "x"), "unknown_operation", 4),
    "no daemon": (("--socket", "{files}/none.sock", "status"), "daemon_unreachable", 7),
    "no configuration": (("config", "validate", "--config", "{files}/none.yaml"), "config_not_found", 78),
    "standalone beside a daemon": (("backup", "--standalone"), "state_locked", 6),
}


@pytest.mark.parametrize("name", CASES)
def test_each_mistake_has_a_code_an_exit_code_and_a_hint(name: str, site: Site) -> None:
    arguments, code, exit_code = CASES[name]
    ran = site.product.ctl(*(part.format(**site.words) if "{" in part else part for part in arguments), "-o", "json")
    error = the_error(ran)
    assert (error["code"], ran.code) == (code, exit_code), error
    assert error["message"]
    assert error["hint"], error
    assert "Traceback" not in ran.err


def test_a_mistake_changes_nothing(site: Site) -> None:
    databases = {row[0] for row in site.server.sql("select datname from pg_database")}
    assert "bad_new" not in databases
    assert site.server.sql("select a from t", "bad_shop") == [("1",)]
    assert not list(site.product.temp_path.rglob("*.partial"))
    assert len(site.product.files()) == 2


def test_damage_is_named_by_its_place(site: Site) -> None:
    error = the_error(site.product.ctl("verify", "--file", str(site.files / "flipped.sql.gz"), "-o", "json"))
    assert "flipped.sql.gz" in error["message"]
    assert "byte" in error["message"]
    assert "member" in error["message"]


def test_people_see_message_and_hint_and_machines_one_document(site: Site) -> None:
    person = site.product.ctl("backup", "--instance", "god")
    assert person.out == ""
    assert "error: " in person.err
    assert "hint:  Did you mean" in person.err or "good" in person.err
    machine = site.product.ctl("backup", "--instance", "wrong-password", "--output", "json")
    assert machine.json["operation"]["state"] == "failed"


def test_a_tool_that_is_missing(server_pool: ServerPool, tmp_path: Path) -> None:
    """One that the configuration names and that is not there; and a server of a vendor whose tools nobody has."""
    server = server_pool.get("postgresql")
    entry = instance(server, "one", database=["postgres"])
    with Product(tmp_path, [entry], config={"tools": {"mysql": {"dump": str(tmp_path / "mysqldump")}}}) as product:
        ran = product.ctl("backup", "--output", "json")
        error = the_error(ran)
        assert (error["code"], ran.code) == ("tool_missing", 1)
        assert str(tmp_path / "mysqldump") in error["message"]
        assert error["hint"]


def test_a_server_without_tools_of_its_vendor(server_pool: ServerPool, tmp_path: Path) -> None:
    server = server_pool.get("mysql")
    if server.spec.origin == "system":
        pytest.skip("MySQL is installed in the system: its tools are always found")
    with Product(tmp_path, [instance(server, "one")]) as product:
        ran = product.ctl("backup", "--output", "json")
        error = the_error(ran)
        assert (error["code"], ran.code) == ("tool_missing", 1)
        assert "mysql" in error["hint"]


# What keeps a daemon from starting. Standalone work starts the same way, and answers in JSON.

Spoil = Callable[[Product], None]


def _configured(**changes: Any) -> Spoil:
    def spoil(product: Product) -> None:
        for section, values in changes.items():
            old = product.settings.setdefault(section, {})
            product.settings[section] = {**old, **values}
        product.write_config()

    return spoil


def _credentials(edit: Callable[[Path], object]) -> Spoil:
    def spoil(product: Product) -> None:
        edit(Path(product.settings["credentials"]["file"]))

    return spoil


def _renamed_host(path: Path) -> None:
    fernet = Fernet(hostname_key("the-name-before"))
    document = json.loads(path.read_text())
    document["encryption"]["key_derivation"] = "hostname-based"
    for entry in document["databases"]:
        entry["username"] = entry["password"] = fernet.encrypt(b"secret").decode()
    path.write_text(json.dumps(document))


def _other_key(path: Path) -> None:
    key = next(each for each in path.parent.iterdir() if "key" in each.name)
    key.write_text(Fernet.generate_key().decode() + "\n")


def _lost_key(path: Path) -> None:
    next(each for each in path.parent.iterdir() if "key" in each.name).unlink()


def _open_key(path: Path) -> None:
    next(each for each in path.parent.iterdir() if "key" in each.name).chmod(0o644)


def _file_instead_of_store(product: Product) -> None:
    shutil.rmtree(product.base_path, ignore_errors=True)
    product.base_path.write_text("not a folder")


def _temp_inside(product: Product) -> None:
    product.settings["storage"]["local"]["temp_path"] = str(product.base_path / "tmp")
    product.write_config()


def _temp_linked_inside(product: Product) -> None:
    (product.base_path / "tmp").mkdir(parents=True)
    shutil.rmtree(product.temp_path, ignore_errors=True)
    product.temp_path.symlink_to(product.base_path / "tmp")


def _unwritable(product: Product) -> None:
    """A folder that we may not write to; for root, one that nobody may."""
    folder = Path("/sys") if os.geteuid() == 0 else product.root / "closed"
    if folder != Path("/sys"):
        folder.mkdir(mode=0o555)
    product.settings["storage"]["local"] = {"base_path": str(folder / "a"), "temp_path": str(folder / "b")}
    product.write_config()


STARTS: dict[str, tuple[Spoil, str, int]] = {
    "no credentials": (_credentials(lambda path: path.unlink()), "credentials_not_found", 78),
    "credentials that others read": (_credentials(lambda path: path.chmod(0o644)), "credentials_mode", 78),
    "credentials that are garbage": (_credentials(lambda path: path.write_text("{")), "invalid_credentials", 78),
    "plain credentials": (
        _credentials(lambda path: path.write_text(path.read_text().replace("gAAAA", "plain"))),
        "invalid_credentials",
        78,
    ),
    "another key": (_credentials(_other_key), "credentials_key", 78),
    "a lost key": (_credentials(_lost_key), "credentials_key", 78),
    "a key that others read": (_credentials(_open_key), "credentials_mode", 78),
    "a renamed host": (_credentials(_renamed_host), "credentials_key", 78),
    "an unknown key": (_configured(backup={"compresion_level": 3}), "invalid_config", 78),
    "a value out of range": (_configured(backup={"compression_level": 12}), "invalid_config", 78),
    "what means nothing yet": (
        _configured(storage={"retention": {"apply_per_database": False}}), "invalid_config", 78
    ),
    "a state directory that is a file": (
        lambda product: _configured(application={"state_dir": str(product.config_path)})(product),
        "invalid_config",
        78,
    ),
    "temporary files below the backups": (_temp_inside, "invalid_config", 78),
    "temporary files below the backups through a link": (_temp_linked_inside, "storage_layout", 78),
    "a store that is a file": (_file_instead_of_store, "storage_failed", 1),
    "a store that cannot be written": (_unwritable, "storage_unwritable", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", STARTS)
def test_each_bad_start_has_a_code_an_exit_code_and_a_hint(
    name: str, any_postgresql: PrivateServer, tmp_path: Path
) -> None:
    spoil, code, exit_code = STARTS[name]
    product = Product(tmp_path, [instance(any_postgresql, "one")], servers=[any_postgresql])
    spoil(product)
    ran = product.ctl("backup", "--standalone", "--output", "json")
    error = the_error(ran)
    assert (error["code"], ran.code) == (code, exit_code), error
    assert error["hint"], error
    daemon = _run_daemon(product)
    assert daemon.returncode == exit_code
    assert error["message"] in daemon.stderr
    assert error["hint"] in daemon.stderr
    assert "Traceback" not in daemon.stderr


def _run_daemon(product: Product) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is expected to end by itself at once."""
    command = [sys.executable, "-m", "vya_backupd", "--config", str(product.config_path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_all_mistakes_of_a_configuration_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    product = Product(tmp_path, [])
    product.config_path.write_text(
        "backup:\n  compresion_level: 3\n  workers: many\nstorge: {}\nstorage:\n  retention:\n    strategy: fibonacci\n"
    )
    ran = product.ctl("config", "validate")
    assert ran.code == 78
    for place in ("line 2", "line 3", "line 4", "line 7", "compression_level", "storage"):
        assert place in ran.err, place


def test_a_second_daemon_is_refused_and_the_first_goes_on(site: Site) -> None:
    second = _run_daemon(site.product)
    assert second.returncode == 6
    assert str(site.product.process.pid) in second.stderr
    assert site.product.ctl("status").code == 0


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        health = {"health_check": {"host": "127.0.0.1", "port": taken.getsockname()[1]}}
        product = Product(tmp_path, [], config={"monitoring": health})
        ended = _run_daemon(product)
    assert ended.returncode == 78
    assert str(health["health_check"]["port"]) in ended.stderr
    assert len(ended.stderr.strip().splitlines()[-2:]) == 2


def test_a_stale_socket_is_replaced_and_a_file_in_its_place_is_not(tmp_path: Path) -> None:
    product = Product(tmp_path, [])
    product.socket_path.write_text("precious")
    refused = _run_daemon(product)
    assert refused.returncode == 78
    assert "not a socket" in refused.stderr
    assert product.socket_path.read_text() == "precious"
    product.socket_path.unlink()
    with product:
        product.kill()
        assert product.socket_path.is_socket()
        product.start()
        assert product.ctl("status").code == 0
        assert product.stop() == 0
    assert not product.socket_path.exists()
