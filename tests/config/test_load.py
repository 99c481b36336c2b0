"""config.yaml: defaults, mistakes with their places, overrides, secrets."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.config.fields import duration, duration_text
from vya_backupd.config.load import load, show
from vya_backupd.config.mistakes import key_paths
from vya_backupd.config.schema import Config
from vya_backupd.errors import ConfigError

CANARY = "c4n4ry-hunter2"


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def loaded(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    return load(write(folder, text), environ or {})


def mistakes(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, environ)
    assert caught.value.code == "invalid_config"
    assert caught.value.exit_code == 78
    return [line.strip() for line in caught.value.message.splitlines()[1:]]


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, "# nothing\n")
    assert config.storage.retention.daily_keep == 7
    assert config.scheduling.timezone == "America/Sao_Paulo"
    assert config.storage.local.temp_path == Path("/var/backups/.vya_backupdb.partial")
    assert config.application.hostname == os.uname().nodename
    assert config.max_age == timedelta(hours=36)
    assert config.catalog_url().reveal() == "sqlite+aiosqlite:////var/lib/vya_backupdb/catalog.db"


def test_the_laptop_configuration(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "application: {state_dir: ./state, environment: dev}\nstorage: {local: {base_path: ./b}}\n"
        "credentials: {file: c.json}\n",
    )
    assert config.application.state_dir == tmp_path / "state"
    assert config.storage.local.temp_path == tmp_path / ".b.partial"
    assert config.credentials.file == tmp_path / "c.json"


def test_default_paths_start_beside_the_file_too(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").credentials.file == tmp_path / ".secrets/credentials.json"


def test_every_mistake_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    text = """\
application:
  state_dir: ./state
  environmnt: dev
storage:
  retention: {apply_per_database: false, daily_keep: x}
  idrive:
    verify_after_sync: true
daily_keep: 3
backup: 5
scheduling:
  cron: "0 2 *"
  timezone: Nowhere
"""
    found = mistakes(tmp_path, text, {"VYA_CREDENTIALS__FIEL": "x", "VYA_TOOLS__MYSQL": "1"})
    assert found[0].startswith(
        "environment variable VYA_CREDENTIALS__FIEL: credentials.fiel: unknown key; did you mean"
    )
    assert found[1] == "environment variable VYA_TOOLS__MYSQL: tools.mysql: must be a group of keys"
    assert found[2] == "line 3: application.environmnt: unknown key; did you mean environment?"
    assert found[4].startswith("line 5: storage.retention.apply_per_database: false is not offered")
    assert found[3] == "line 5: storage.retention.daily_keep: must be a whole number"
    assert found[5].startswith("line 7: storage.idrive.verify_after_sync: true is not offered")
    assert found[6] == "line 8: daily_keep: unknown key; did you mean storage.retention.daily_keep?"
    assert found[7] == "line 9: backup: must be a group of keys"
    assert found[8].startswith("line 11: scheduling.cron: must have five fields")
    assert found[9].startswith("line 12: scheduling.timezone: is not a time zone")
    assert len(found) == 10


@pytest.mark.parametrize("path", list(key_paths(Config)), ids=".".join)
def test_a_misspelt_key_is_told_its_neighbour(tmp_path: Path, path: tuple[str, ...]) -> None:
    text = "\n".join(f"{'  ' * depth}{part}:" for depth, part in enumerate(path[:-1]))
    wrong = path[-1][:-1] + ("x" if path[-1][-1] != "x" else "y")
    item = "- " if path[-2:-1] in {("webhooks",), ("blackouts",)} else ""
    found = mistakes(tmp_path, f"{text}\n{'  ' * (len(path) - 1)}{item}{wrong}: [1]\n")
    line = next(line for line in found if "unknown key" in line)
    assert line.startswith(f"line {len(path) + (len(path) == 1)}:")
    assert line.endswith("?")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("backup: {workers: 1}\nbackup: {workers: 2}", "line 2: backup: is there twice; first in line 1"),
        ("a: [", "not YAML"),
        ("- a", "must be a group of keys at its top"),
        ("application: {name: !!python/object:os.system x}", "line 1: application.name: YAML tags are not understood"),
        ("application: &a\n  name: *a", "deeply nested"),
        ("logging: {output: file}", "logging: file_path is required when output is file"),
        ("logging: {level: LOUD}", "should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("backup: {stall_timeout: 0}", "must be longer than nothing"),
        ("backup: {compression_level: 0}", "greater than or equal to 1"),
        ("backup: {workers: [1]}", "backup.workers: must be a whole number"),
        ("storage: {local: {base_path: /a, temp_path: /a/b}}", "must not lie inside each other"),
        ("storage: {local: {structure: '../{db_name}'}}", "line 1: storage.local.structure:"),
        ("storage: {file_naming: {pattern: '{db_name}.sql'}}", "must end with .gz"),
        ("storage: {metadata: {enabled: false}}", "is what makes a file a published backup"),
        ("storage: {idrive: {enabled: true}}", "sync_folder is required"),
        (
            "storage: {local: {base_path: /s/b}, idrive: {sync_folder: /s}}",
            "must not lie inside idrive.sync_folder",
        ),
        ("notifications: {email: {enabled: true}}", "needs smtp_host, from_address, error_recipients"),
        ("monitoring: {prometheus: {job_name: '{host}'}}", "knows the placeholder {hostname} only"),
        ("monitoring: {health_check: {path: /metrics}}", "must be a path such as /health"),
        ("monitoring: {prometheus: {pushgateway_url: push}}", "must begin with http"),
        (f"control: {{socket_path: /{'x' * 120}}}", "107 bytes"),
        ("catalog: {url: env:NOT_SET}", "names an environment variable that is not set"),
        ("catalog: {url: 'file:~no-such-user/x'}", "catalog.url: starts with ~no-such-user, and nobody here"),
        ("storage: {local: {base_path: ~no-such-user/b}}", "starts with ~no-such-user, and nobody here has that name"),
        ("catalog: {url: systemd:../x}", "must name a credential"),
        ("catalog: {url: nonsense}", "catalog.url: must be sqlite+aiosqlite:////PATH or postgresql+psycopg://"),
        ("catalog: {url: mysql://u@h/d}", "must be sqlite+aiosqlite:////PATH or"),
        ("catalog: {url: 'postgresql+psycopg://u@h:port/d'}", "must be sqlite+aiosqlite:////PATH or"),
    ],
)
def test_each_mistake_has_its_words(tmp_path: Path, text: str, wanted: str) -> None:
    assert any(wanted in line for line in mistakes(tmp_path, text))


def test_a_catalog_that_a_file_names_wrongly_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "url").touch(mode=0o600)
    (tmp_path / "url").write_text(f"nonsense-{CANARY}")
    config = loaded(tmp_path, "catalog: {url: file:url}\n")
    with pytest.raises(ConfigError, match=r"catalog\.url .* must be sqlite") as caught:
        config.catalog_url()
    assert CANARY not in str(caught.value)


def test_an_alias_bomb_is_refused_quickly(tmp_path: Path) -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
    assert any("too large" in line for line in mistakes(tmp_path, f"l0: &l0 [x]\n{levels}\n"))


def test_spelling_does_not_decide_types(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "application: {name: no, version: 1.10, hostname: 2026-01-09}\nlogging: {level: debug}\n"
        "monitoring: {health_check: {enabled: off, host: '0'}}\nbackup: {workers: '3', max_age: 1h30m}\n"
        "control: {operators: 'dba, backup', viewers: [ops]}\n",
    )
    assert (config.application.name, config.application.version) == ("no", "1.10")
    assert config.application.hostname == "2026-01-09"
    assert config.monitoring.health_check.enabled is False
    assert config.backup.workers == 3
    assert config.max_age == timedelta(minutes=90)
    assert config.control.operators == ("dba", "backup")
    assert config.control.viewers == ("ops",)


def test_the_environment_comes_before_env_file_and_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# ours\nexport VYA_BACKUP__WORKERS=4\nVYA_SCHEDULING__TIMEZONE='UTC'\nVYA_CONFIG=ignored\n"
    )
    environ = {"VYA_BACKUP__WORKERS": "5", "VYA_SOCKET": "/x", "VYA_CONTROL__VIEWERS": "a,b"}
    config = loaded(tmp_path, "backup: {workers: 3, attempts: 7}", environ)
    assert (config.backup.workers, config.backup.attempts) == (5, 7)
    assert config.scheduling.timezone == "UTC"
    assert config.control.viewers == ("a", "b")


def test_an_env_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("VYA_BACKUP__WORKERS=4\n")
    (tmp_path / ".env").chmod(0o666)
    with pytest.raises(ConfigError, match="is not taken"):
        loaded(tmp_path, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a file of somebody else")
def test_an_env_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("VYA_BACKUP__WORKERS=4\n")
    os.chown(tmp_path / ".env", 65534, 65534)
    with pytest.raises(ConfigError, match="is not taken"):
        loaded(tmp_path, "")


def test_a_line_of_the_env_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"A=1\n{CANARY}\n")
    with pytest.raises(ConfigError, match="line 2") as caught:
        loaded(tmp_path, "")
    assert CANARY not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml", {})
    assert caught.value.code == "config_not_found"
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(ConfigError, match="line 2"):
        load(tmp_path / "latin.yaml", {})
    (tmp_path / "huge.yaml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load(tmp_path / "huge.yaml", {})
    path = write(tmp_path, "")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="changed by everybody"):
        load(path, {})


MAIL = "notifications: {{email: {{username: mailer, password: '{}'}}}}\n"


def test_a_plain_secret_is_refused_in_production_only(tmp_path: Path) -> None:
    text = MAIL.format(CANARY) + f"catalog: {{url: postgresql+psycopg://vya:{CANARY}@h/db}}\n"
    found = mistakes(tmp_path, text)
    assert [line.split(": ")[:2] for line in found] == [
        ["line 1", "notifications.email.password"],
        ["line 2", "catalog.url"],
    ]
    assert CANARY not in str(found)
    config = loaded(tmp_path, f"application: {{environment: dev}}\n{text}")
    assert config.notifications.email.password is not None
    assert config.notifications.email.password.reveal().reveal() == CANARY
    assert config.catalog_url().reveal() == f"postgresql+psycopg://vya:{CANARY}@h/db"
    for shown in (json.dumps(show(config)), repr(config), str(config)):
        assert CANARY not in shown
    assert show(config)["notifications"]["email"]["username"] == "mail***"


def test_a_plain_secret_is_found_beside_other_mistakes(tmp_path: Path) -> None:
    found = mistakes(tmp_path, MAIL.format(CANARY) + "application: {environment: production}\nnope: 1\n")
    assert len(found) == 2
    found = mistakes(tmp_path, "backup: {wrkrs: 1}", {"VYA_NOTIFICATIONS__EMAIL__PASSWORD": CANARY})
    assert any("plain secret" in line and line.startswith("environment variable VYA_") for line in found)
    assert CANARY not in str(found)


def test_where_secrets_are_fetched_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "mail.txt"
    secret.write_text(f"{CANARY}\n")
    secret.chmod(0o600)
    folder = tmp_path / "creds"
    folder.mkdir()
    (folder / "mail").write_text(CANARY)
    (folder / "mail").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    (tmp_path / ".env").write_text(f"MAIL_PASSWORD={CANARY}\n")
    for reference in ("file:mail.txt", f"file:{secret}", "systemd:mail", "env:MAIL_PASSWORD"):
        config = loaded(tmp_path, MAIL.format(reference))
        assert config.notifications.email.password is not None
        assert config.notifications.email.password.reveal().reveal() == CANARY
        assert CANARY not in json.dumps(show(config))


def test_a_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mail.txt").write_text(CANARY)
    (tmp_path / "mail.txt").chmod(0o644)
    password = loaded(tmp_path, MAIL.format("file:mail.txt")).notifications.email.password
    assert password is not None
    with pytest.raises(ConfigError) as caught:
        password.reveal()
    assert caught.value.code == "credentials_mode"


def test_a_fernet_secret_needs_the_key(tmp_path: Path) -> None:
    password = loaded(tmp_path, MAIL.format("fernet:gAAAAAx")).notifications.email.password
    assert password is not None
    assert password.reveal(lambda token: token[:6]).reveal() == "gAAAAA"
    with pytest.raises(ConfigError) as caught:
        password.reveal()
    assert caught.value.code == "credentials_key"


@given(st.integers(1, 10**9))
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    value = timedelta(seconds=seconds)
    assert duration(duration_text(value)) == value


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5 parsecs", "1 2", "m", "1e9999d", "99999999999999d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|longer"):
        duration(text)


@given(st.text(max_size=200))
def test_no_text_breaks_the_loader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    code = "invalid_config"
    try:
        load(path, {})
    except ConfigError as error:
        code = error.code
    assert code == "invalid_config"


def test_webhooks_and_pings_show_no_secret(tmp_path: Path) -> None:
    text = f"""\
notifications:
  webhooks:
    - url: https://hooks.example.com:8443/services/{CANARY}
      secret: {CANARY}
      events: retention.*
    - {{url: 'env:HOOK'}}
  ping: {{success_url: 'https://u:{CANARY}@hc.example.com/{CANARY}'}}
"""
    environ = {"HOOK": f"http://localhost/{CANARY}"}
    assert [line.split(": ")[:2] for line in mistakes(tmp_path, text, environ)] == [
        ["line 4", "notifications.webhooks[0].secret"],
        ["line 7", "notifications.ping.success_url"],
    ]
    config = loaded(tmp_path, f"application: {{environment: dev}}\n{text}", environ)
    first, second = config.notifications.webhooks
    assert (first.events, second.events) == (("retention.*",), ("operation.finished",))
    assert second.url.reveal().reveal() == f"http://localhost/{CANARY}"
    shown = show(config)["notifications"]
    assert shown["webhooks"][0]["url"] == "https://hooks.example.com:8443/***"
    assert shown["webhooks"][1]["url"] == "env:HOOK"
    assert shown["ping"]["success_url"] == "https://hc.example.com/***"
    assert CANARY not in json.dumps(show(config)) + repr(config)
    wrong = mistakes(tmp_path, "notifications: {webhooks: [{url: 'ftp://x/', evnts: a}, {}]}")
    assert len(wrong) == 3
    assert "did you mean events?" in " ".join(wrong)


@pytest.mark.parametrize("text", ["ops@example.com, Bob <bob@example.com>", ["a@b c"]])
def test_recipients_are_bare_addresses(tmp_path: Path, text: object) -> None:
    assert (
        "bare addresses" in mistakes(tmp_path, f"notifications: {{email: {{error_recipients: {json.dumps(text)}}}}}")[0]
    )
