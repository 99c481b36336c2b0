"""The credentials file: round trips, keys, rotation, mistakes."""

from __future__ import annotations

import json
import os
import socket
import stat
import string
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vya_backupd.config import credentials, keys
from vya_backupd.config.credentials import Credentials, Location
from vya_backupd.config.keys import KeyMethod
from vya_backupd.config.load import load
from vya_backupd.errors import ConfigError
from vya_backupd.model.instance import EngineKind, TlsMode
from vya_backupd.model.secret import Secret

CANARY = "c4n4ry'p@ss"


def entry(**changes: Any) -> dict[str, Any]:
    facts = {"id": "pg", "type": "postgresql", "host": "db", "username": "vya-user", "password": CANARY}
    return {key: value for key, value in (facts | changes).items() if value is not ...}


def write_plain(folder: Path, *entries: dict[str, Any], **more: Any) -> Path:
    path = folder / "plain.json"
    path.write_text(json.dumps({"databases": list(entries or (entry(),)), **more}))
    return path


def place(folder: Path, **options: Any) -> Location:
    return Location(folder / ".secrets/credentials.json", **options)


def encrypted(folder: Path, *entries: dict[str, Any], method: KeyMethod = KeyMethod.KEY_FILE) -> Location:
    where = place(folder)
    credentials.encrypt(write_plain(folder, *entries), where, method)
    return where


def passwords(found: Credentials) -> list[str]:
    return [instance.password.reveal() for instance in found.instances]


def refused(where: Location, code: str = "invalid_credentials") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        credentials.read(where)
    assert caught.value.code == code
    assert CANARY not in str(caught.value) + caught.value.hint
    return caught.value


def edit(where: Location, change: Any) -> None:
    document = json.loads(where.file.read_text())
    change(document)
    where.file.write_text(json.dumps(document))


def test_encrypt_then_read(tmp_path: Path) -> None:
    where = encrypted(tmp_path)
    instance = credentials.read(where).instances[0]
    assert (instance.id, instance.kind, instance.host, instance.port) == ("pg", EngineKind.POSTGRESQL, "db", 5432)
    assert (instance.username, instance.password) == ("vya-user", Secret(CANARY))
    key_file = tmp_path / ".secrets/credentials.key"
    for path in (where.file, key_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "vya-user" not in path.read_text()
        assert CANARY not in path.read_text()
    assert CANARY not in repr(credentials.read(where))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=200))
def test_any_password_comes_back(tmp_path: Path, password: str) -> None:
    assert passwords(credentials.read(encrypted(tmp_path, entry(password=password)))) == [password]


def test_every_printable_character_comes_back(tmp_path: Path) -> None:
    password = "".join(char for char in string.printable if char not in "\n\r") + "ünï \U0001f511"
    assert passwords(credentials.read(encrypted(tmp_path, entry(password=password)))) == [password]


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("key", ["username", "password"])
def test_what_a_password_file_cannot_hold_is_refused(tmp_path: Path, key: str, bad: str) -> None:
    with pytest.raises(ConfigError, match=rf"databases\[0\].{key}: must not hold a line break or a NUL"):
        credentials.encrypt(write_plain(tmp_path, entry(**{key: bad})), place(tmp_path))
    assert not (tmp_path / ".secrets").exists()


def test_every_mistake_is_told_at_once_without_values(tmp_path: Path) -> None:
    where = encrypted(tmp_path, entry(), entry(id="two"))

    def spoil(document: dict[str, Any]) -> None:
        one, two = document["databases"]
        document["databases"].append(dict(one))
        one["password"] = CANARY
        one["prot"] = 1
        two |= {"type": "oracle", "port": "x", "host": "-h", "ssl": {"mode": "verify-full"}, "database": [""]}

    edit(where, spoil)
    lines = refused(where).message.splitlines()[1:]
    assert [line.split(": ")[0].strip() for line in lines] == [
        "databases[2].id",
        "databases[0].password",
        "databases[0].prot",
        "databases[1].type",
        "databases[1].host",
        "databases[1].port",
        "databases[1].database",
        "databases[1].ssl",
    ]
    assert "did you mean port?" in "".join(lines)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"id": "a/b"}, "letters, digits"),
        ({"id": ...}, "databases[0].id: is required"),
        ({"host": ...}, "needs either host or socket"),
        ({"socket": "/s"}, "needs either host or socket"),
        ({"host": "a b"}, "without blanks"),
        ({"username": ""}, "at least 1 character"),
        ({"database": []}, "names none"),
        ({"port": 70000}, "65535"),
        ({"ssl": {"enabled": True, "mode": "disable"}}, "contradict"),
        ({"ssl": {"enabled": False, "mode": "require"}}, "contradict"),
        ({"ssl": {"client_cert": "c"}}, "belong together"),
        ({"schedule": {"cron": "x"}}, "five fields"),
        ({"retention": {"daily_kep": 1}}, "did you mean daily_keep?"),
        ({"max_age": "soon"}, "must be a duration"),
    ],
)
def test_each_mistake_has_its_words(tmp_path: Path, changes: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        credentials.encrypt(write_plain(tmp_path, entry(**changes)), place(tmp_path))
    assert wanted in caught.value.message
    assert CANARY not in caught.value.message


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f'{{"databases": [\n"{CANARY}}}', "line 2"),
        ('{"version": "1.0", "version": "1.0"}', "there twice"),
        ("[]", "JSON object"),
        ("\xff", "UTF-8"),
        ('{"databases": []}', "must be one of key-file"),
        ('{"encryption": {"key_derivation": "magic"}}', "must be one of key-file"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_credentials_file(tmp_path: Path, text: str, wanted: str) -> None:
    where = encrypted(tmp_path)
    where.file.write_text(text, encoding="latin-1")
    assert wanted in refused(where).message


@pytest.mark.parametrize(
    ("ssl", "mode"),
    [
        (None, TlsMode.PREFER),
        ({}, TlsMode.PREFER),
        ({"enabled": False}, TlsMode.DISABLE),
        ({"enabled": True}, TlsMode.REQUIRE),
        ({"enabled": True, "ca_cert": "ca.pem"}, TlsMode.VERIFY_FULL),
        ({"ca_cert": "/ca.pem", "mode": "verify-ca"}, TlsMode.VERIFY_CA),
        ({"mode": "require"}, TlsMode.REQUIRE),
    ],
)
def test_what_tls_is_meant(tmp_path: Path, ssl: Any, mode: TlsMode) -> None:
    found = credentials.read(encrypted(tmp_path, entry(ssl=ssl)))
    assert found.instances[0].tls.mode is mode
    if ssl and ssl.get("ca_cert") == "ca.pem":
        assert found.instances[0].tls.ca_cert == tmp_path / ".secrets/ca.pem"
        assert any("does not exist" in warning for warning in found.warnings)


def test_addresses_and_databases(tmp_path: Path) -> None:
    found = credentials.read(
        encrypted(
            tmp_path,
            entry(host="/var/run/postgresql", database="a,b"),
            entry(id="my", type="mysql", host=..., socket="/s", database=["x*", "y"], exclude_databases="xx"),
            entry(id="maria", type="mariadb", port=3307, enabled=False),
        )
    )
    pg, my, maria = found.instances
    assert (pg.host, pg.socket, pg.databases) == (None, "/var/run/postgresql", ("a,b",))
    assert (my.socket, my.databases, my.exclude, my.port) == ("/s", ("x*", "y"), ("xx",), 3306)
    assert (maria.port, maria.enabled) == (3307, False)


def test_an_instance_may_have_its_own_objectives(tmp_path: Path) -> None:
    own = entry(max_age="6h", schedule={"interval_minutes": 60}, retention={"strategy": "simple"})
    found = credentials.read(encrypted(tmp_path, own)).entries[0]
    assert found.max_age is not None
    assert found.max_age.total_seconds() == 6 * 3600
    assert found.schedule is not None
    assert found.schedule.interval_minutes == 60
    assert found.retention is not None
    assert found.retention.strategy == "simple"


def test_a_file_of_an_older_tool_is_read_and_warned_of(tmp_path: Path) -> None:
    fernet = Fernet(keys.hostname_key(socket.gethostname()))
    login = {key: fernet.encrypt(value.encode()).decode() for key, value in (("username", "u"), ("password", CANARY))}
    path = tmp_path / "credentials.json"
    encryption = {"method": "fernet", "key_derivation": "hostname-based"}
    path.write_text(json.dumps({"version": "1.0", "encryption": encryption, "databases": [entry(**login)]}))
    path.chmod(0o600)
    found = credentials.read(Location(path))
    assert passwords(found) == [CANARY]
    assert any("no secret" in warning for warning in found.warnings)


def test_a_renamed_host_is_told_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "old-name")
    where = encrypted(tmp_path, method=KeyMethod.HOSTNAME)
    monkeypatch.setattr(socket, "gethostname", lambda: "new-name")
    error = refused(where, "credentials_key")
    assert "new-name" in error.message
    assert "--old-hostname" in error.hint
    assert passwords(credentials.read(place(tmp_path, hostnames=("old-name",)))) == [CANARY]
    found = credentials.rotate(where, KeyMethod.HOSTNAME, old_hostname="old-name")
    assert found.keyring.method is KeyMethod.HOSTNAME
    assert passwords(credentials.read(where)) == [CANARY]


def test_wrong_and_lost_keys_are_told_apart(tmp_path: Path) -> None:
    where = encrypted(tmp_path)
    key_file = tmp_path / ".secrets/credentials.key"
    key_file.write_bytes(keys.key_file_text([keys.new_key()]))
    assert "databases[0].username, databases[0].password" in refused(where, "credentials_key").message
    key_file.write_text("not a key\n")
    assert "no Fernet key" in refused(where, "credentials_key").message
    key_file.write_text("# only remarks\n")
    assert "holds no key" in refused(where, "credentials_key").message
    key_file.chmod(0o644)
    refused(where, "credentials_mode")
    key_file.unlink()
    assert "Bring the key file back" in refused(where, "credentials_key").hint
    assert not key_file.exists()


def test_the_credentials_file_itself_must_be_private(tmp_path: Path) -> None:
    where = encrypted(tmp_path)
    where.file.chmod(0o640)
    refused(where, "credentials_mode")
    where.file.unlink()
    refused(where, "credentials_not_found")


def test_rotation_makes_a_new_key_and_the_old_one_goes_on_reading(tmp_path: Path) -> None:
    where = encrypted(tmp_path)
    before = credentials.read(where).keyring
    token = before.encrypt("a fernet: secret of config.yaml")
    old_text = where.file.read_text()
    after = credentials.rotate(where).keyring
    assert after.keys[0] != before.keys[0]
    assert after.keys[1:] == before.keys
    assert after.decrypt(token) == "a fernet: secret of config.yaml"
    new_tokens = json.loads(where.file.read_text())["databases"][0]
    assert Fernet(after.keys[0]).decrypt(new_tokens["password"]).decode() == CANARY
    assert passwords(credentials.read(where)) == [CANARY]
    where.file.write_text(old_text)  # a copy from before the rotation
    assert passwords(credentials.read(where)) == [CANARY]


def test_rotation_leaves_the_host_name_behind(tmp_path: Path) -> None:
    where = encrypted(tmp_path, method=KeyMethod.HOSTNAME)
    token = credentials.read(where).keyring.encrypt("old")
    found = credentials.rotate(where)
    assert found.keyring.method is KeyMethod.KEY_FILE
    assert found.warnings == ()
    assert found.keyring.decrypt(token) == "old"


def test_a_rotation_that_is_killed_leaves_a_readable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = encrypted(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(credentials, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        credentials.rotate(where)
    assert len(credentials.read(where).keyring.keys) == 2
    assert passwords(credentials.read(where)) == [CANARY]


def test_a_rotation_of_an_unreadable_file_changes_nothing(tmp_path: Path) -> None:
    where = encrypted(tmp_path)
    edit(where, lambda document: document["databases"][0].update(password="plain"))
    before = {path.name: path.read_bytes() for path in where.file.parent.iterdir()}
    with pytest.raises(ConfigError):
        credentials.rotate(where)
    assert {path.name: path.read_bytes() for path in where.file.parent.iterdir()} == before


def test_rotations_at_once_lose_no_key(tmp_path: Path) -> None:
    where = encrypted(tmp_path)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            credentials.rotate(where)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = credentials.read(where)
    assert len(found.keyring.keys) == 7
    assert passwords(found) == [CANARY]


def test_keys_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = keys.new_key(), keys.new_key()
    monkeypatch.setenv("VYA_CREDENTIALS_KEY", old)
    where = encrypted(tmp_path, method=KeyMethod.ENVIRONMENT)
    monkeypatch.setenv("VYA_CREDENTIALS_KEY", f"{new},{old}")
    credentials.rotate(where)
    monkeypatch.setenv("VYA_CREDENTIALS_KEY", new)
    assert passwords(credentials.read(where)) == [CANARY]
    assert not (tmp_path / ".secrets/credentials.key").exists()
    monkeypatch.delenv("VYA_CREDENTIALS_KEY")
    refused(where, "credentials_key")


def test_a_key_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "handed-over"
    folder.mkdir()
    (folder / "my-key").write_text(keys.new_key() + "\n")
    (folder / "my-key").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    where = place(tmp_path)
    credentials.encrypt(write_plain(tmp_path), where, KeyMethod.SYSTEMD, name="my-key")
    assert passwords(credentials.read(where)) == [CANARY]
    assert passwords(credentials.rotate(where)) == [CANARY]
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert "LoadCredential=my-key" in refused(where, "credentials_not_found").hint


def test_encrypting_again_keeps_the_key(tmp_path: Path) -> None:
    where = encrypted(tmp_path)
    before = credentials.read(where).keyring.keys
    encrypted(tmp_path, entry(password="other"))
    found = credentials.read(where)
    assert (found.keyring.keys, passwords(found)) == (before, ["other"])


def test_what_is_encrypted_is_not_encrypted_twice(tmp_path: Path) -> None:
    where = encrypted(tmp_path)
    with pytest.raises(ConfigError, match="is encrypted already"):
        credentials.encrypt(where.file, where)


def test_through_the_configuration(tmp_path: Path) -> None:
    encrypted(tmp_path)
    (tmp_path / "config.yaml").write_text("application: {environment: dev}\n")
    config = load(tmp_path / "config.yaml", {})
    assert [instance.id for instance in credentials.load_instances(config)] == ["pg"]
    token = credentials.read(credentials.location(config)).keyring.encrypt(CANARY)
    (tmp_path / "config.yaml").write_text(f"notifications: {{email: {{username: u, password: 'fernet:{token}'}}}}\n")
    password = load(tmp_path / "config.yaml", {}).notifications.email.password
    assert password is not None
    keyring = credentials.read(credentials.location(config)).keyring
    assert password.reveal(keyring.decrypt).reveal() == CANARY


def test_disabled_everything_is_a_warning(tmp_path: Path) -> None:
    assert "no instance is enabled" in credentials.read(encrypted(tmp_path, entry(enabled=False))).warnings


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    plain = write_plain(tmp_path)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="cannot be"):
            credentials.encrypt(plain, place(tmp_path))
    finally:
        tmp_path.chmod(0o700)
