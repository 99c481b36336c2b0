"""What is on the console and in the file, read back."""

from __future__ import annotations

import json
import logging
import os
import stat
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog

from vya_backupd.errors import ConfigError
from vya_backupd.model.event import Event
from vya_backupd.observe.log import LogFile, LogSettings, configure_logging, log_event, try_log_again
from vya_backupd.observe.redaction import register_secret

pytestmark = pytest.mark.usefixtures("logging_restored")


def to_file(path: Path, form: Literal["json", "text"] = "json", level: str = "INFO") -> Path:
    configure_logging(LogSettings(level, form, "file", path))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_json_with_time_level_and_logger(tmp_path: Path) -> None:
    path = to_file(tmp_path / "logs" / "vya.log")
    structlog.get_logger("vya.x").info("backup.started", instance="pg", size=5, who="grün")
    structlog.get_logger("vya.x").debug("too.low")
    logging.getLogger("some.library").warning("said %s", "this", extra={"more": 1})
    first, second = lines(path)
    assert (first["event"], first["level"], first["logger"], first["size"]) == ("backup.started", "info", "vya.x", 5)
    assert datetime.fromisoformat(first["timestamp"]).tzinfo is not None
    assert (second["event"], second["logger"], second["more"]) == ("said this", "some.library", 1)
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_gets_through(tmp_path: Path, form: Literal["json", "text"]) -> None:
    secret = "can\"ary\\08'15"
    register_secret(secret)
    path = to_file(tmp_path / "log", form)
    log = structlog.get_logger("vya.x")
    message = f"in the message {secret}"
    log.info(message, value=secret, nested={"a": [secret, (secret,)]}, error=ValueError(secret))
    try:
        local_variable = secret
        raise RuntimeError(f"failed with {local_variable!r}")
    except RuntimeError:
        log.exception("it.failed", password=secret)
        logging.getLogger("lib").exception("foreign %s", {"p": secret})
    logging.getLogger("lib").error("args %r", [secret])
    text = path.read_text()
    assert text.count("***") >= 8
    assert "RuntimeError" in text
    for part in ('can"ary', 'can\\"ary', "08'15", "ary\\\\08"):
        assert part not in text


def test_a_rotated_file_is_opened_anew(tmp_path: Path) -> None:
    path = to_file(tmp_path / "log")
    log = structlog.get_logger("vya.x")
    log.info("one")
    path.rename(tmp_path / "log.1")
    log.info("two")
    assert [line["event"] for line in lines(tmp_path / "log.1")] == ["one"]
    assert [line["event"] for line in lines(path)] == ["two"]


def test_a_file_that_was_deleted_or_emptied_is_written_on(tmp_path: Path) -> None:
    path = to_file(tmp_path / "log")
    log = structlog.get_logger("vya.x")
    log.info("one")
    path.unlink()
    log.info("two")
    assert [line["event"] for line in lines(path)] == ["two"]
    os.truncate(path, 0)
    log.info("three")
    assert [line["event"] for line in lines(path)] == ["three"], "a hole would show where the old end was"


async def test_a_folder_that_goes_away_loses_lines_until_it_is_back(tmp_path: Path) -> None:
    path = to_file(tmp_path / "logs" / "log")
    log, before = structlog.get_logger("vya.x"), LogFile.lost
    (tmp_path / "logs").rename(tmp_path / "away")
    log.info("lost")
    log.info("lost too")
    await try_log_again()
    assert LogFile.lost == before + 3
    assert str(path) in str(LogFile.trouble)
    (tmp_path / "away").rename(tmp_path / "logs")
    await try_log_again()
    await try_log_again()
    assert LogFile.trouble is None
    log.info("back")
    assert [line["event"] for line in lines(path)] == ["log.gap", "back"]


def test_configuring_again_replaces_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    path = to_file(tmp_path / "log")
    (tmp_path / "blocked").write_text("")
    with pytest.raises(ConfigError, match="cannot write the log file"):
        to_file(tmp_path / "blocked" / "log")
    with pytest.raises(ConfigError, match="file_path"):
        configure_logging(LogSettings(output="file"))
    structlog.get_logger("vya.x").info("still here")
    other = to_file(tmp_path / "other", level="WARNING")
    structlog.get_logger("vya.x").info("dropped")
    structlog.get_logger("vya.x").warning("kept")
    assert [line["event"] for line in lines(path)] == ["still here"]
    assert [line["event"] for line in lines(other)] == ["kept"]


def test_both_console_and_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings("INFO", "text", "both", tmp_path / "log"))
    structlog.get_logger("vya.x").info("hello.there", name="a b")
    captured = capsys.readouterr()
    assert "hello.there" in captured.err
    assert captured.out == ""
    assert "name='a b'" in (tmp_path / "log").read_text()


def test_text_lines_cannot_be_forged(tmp_path: Path) -> None:
    path = to_file(tmp_path / "log", "text")
    logging.getLogger("lib").error("bad name %s", "x\n2026-01-09 [info] forged")
    structlog.get_logger("vya.x").info("ok", database="y\r\nforged too\x1b[31m")
    assert len(path.read_text().splitlines()) == 2
    assert "\x1b" not in path.read_text()


def test_a_full_disk_loses_lines_and_counts_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LogFile, "trouble", None)
    if not os.path.exists("/dev/full"):
        pytest.skip("this machine has no /dev/full")
    handler = LogFile(Path("/dev/full"))
    record = logging.LogRecord("x", logging.INFO, "f", 1, "m", None, None)
    handler.handle(record)
    handler.handle(record)
    assert handler.failures == 2
    assert capsys.readouterr().err.count("cannot write the log") == 1
    handler.close()


def test_names_that_are_not_utf8_are_written_all_the_same(tmp_path: Path) -> None:
    path = to_file(tmp_path / "log")
    structlog.get_logger("vya.x").info("odd", file=os.fsdecode(b"\xff\xfe"))
    assert "odd" in path.read_text()


def test_events_are_logged_with_their_facts(tmp_path: Path) -> None:
    path = to_file(tmp_path / "log")
    at = datetime.now(UTC)
    data = {"kind": "backup", "state": "failed", "error_code": "login_refused", "event": "x", "level": "x"}
    log_event(Event("operation.finished", at, "o1", "pg", None, "me(1)", data))
    log_event(Event("operation.started", at, "o1", data={"state": "running"}))
    log_event(Event("operation.finished", at, "o1", data={"state": "interrupted"}))
    failed, started, interrupted = lines(path)
    assert (failed["event"], failed["level"], failed["instance"]) == ("operation.finished", "error", "pg")
    assert (failed["operation"], failed["actor"], failed["error_code"]) == ("o1", "me(1)", "login_refused")
    assert "database" not in failed
    assert (started["level"], interrupted["level"]) == ("info", "warning")


def test_warnings_are_logged(tmp_path: Path) -> None:
    path = to_file(tmp_path / "log")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("look out", stacklevel=1)
        logging.captureWarnings(False)
    assert "look out" in path.read_text()
