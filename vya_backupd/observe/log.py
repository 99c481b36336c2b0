"""Structured logging: JSON or text lines, on the console, into a file, or both, without secrets.

Everything goes through the standard library's root logger: our structlog calls and what libraries say. A line is
redacted twice: value by value before it is rendered, so that no escaping hides a secret, and whole afterwards.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Literal

import structlog

from vya_backupd.durable import write_all
from vya_backupd.errors import ConfigError
from vya_backupd.model.event import Event
from vya_backupd.model.operation import State
from vya_backupd.model.terminal import escaped
from vya_backupd.observe.redaction import redact, redact_value
from vya_backupd.ownership import open_to_append

_QUIET = {"aiohttp.access": logging.ERROR, "aiosqlite": logging.WARNING, "alembic": logging.WARNING}
"""Libraries that say more than an operator wants, whatever the level is."""


_DISTURBING = frozenset({"clock.jumped", "daemon.stalled"})
_SAID = frozenset({"daemon.stopped", "config.reloaded", "config.reload_refused"})
"""Events that whoever did it has said in the log already, also when no catalog could take them."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How to log: section ``logging`` of the configuration."""

    level: str = "INFO"
    format: Literal["json", "text"] = "json"
    output: Literal["console", "file", "both"] = "console"
    file_path: Path | None = None


class LogFile(WatchedFileHandler):
    """A file of mode 0640 that is opened anew when another file lies under its name: logrotate needs no signal.

    A line that cannot be written is counted in ``failures``, and the first of a row is said on stderr; it never disturbs
    who logs.
    """

    lost = 0
    """Lines that no log file could take, since the process began."""
    trouble: str | None = None
    """Why the last line could not be written, naming the file; None when it could."""

    def __init__(self, path: Path) -> None:
        self.failures = 0
        super().__init__(path, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> TextIOWrapper:
        descriptor = open_to_append(Path(self.baseFilename), 0o640)
        return os.fdopen(descriptor, "a", encoding=self.encoding, errors=self.errors)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, wholly or not at all; reopening may fail too, and is a lost line like any other."""
        try:
            self.reopenIfNeeded()
            self.stream = self.stream or self._open()
            _append(self.stream.fileno(), (self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - a line that cannot be made is lost as well, and disturbs nobody
            self.handleError(record)
        else:
            LogFile.trouble = None

    def close(self) -> None:
        """Close, whatever the disk says to the last bytes."""
        with suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - the name is logging's
        """Count a lost line."""
        self.failures += 1
        LogFile.lost += 1
        said, LogFile.trouble = LogFile.trouble, f"cannot write the log {self.baseFilename}: {sys.exc_info()[1]}"
        if said is None:
            sys.stderr.write(f"vya-backupd: {LogFile.trouble}\n")


def _append(fd: int, line: bytes) -> None:
    size = os.fstat(fd).st_size
    try:
        write_all(fd, line)
    except OSError:
        with suppress(OSError):  # half a line would swallow the next one
            os.ftruncate(fd, size)
        raise


async def try_log_again() -> None:
    """Find out whether a log that could not be written can be now: a line of it says that there is a gap."""
    if LogFile.trouble is not None:
        structlog.get_logger("vya.log").error("log.gap", lines_lost=LogFile.lost)


class _Redacted(logging.Formatter):
    """The last look at a line before it is written."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return redact(self._inner.format(record))


def configure_logging(settings: LogSettings) -> None:
    """Log so from now on; called again when the configuration was reloaded.

    Raises:
        ConfigError: the log file cannot be opened; the old way of logging stays.
    """
    handlers = _handlers(settings)
    formatter = _Redacted(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared_processors(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(settings.format)],
        )
    )
    for handler in handlers:
        handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "is_ours", False):
            root.removeHandler(old)
            old.close()
    LogFile.trouble = None
    for handler in handlers:
        handler.is_ours = True  # type: ignore[attr-defined]
        root.addHandler(handler)
    root.setLevel(settings.level)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def log_event(event: Event) -> None:
    """The observer that writes every event of the catalog into the log; bad ends are warnings or errors."""
    if event.name in _SAID:
        return
    facts = {key: value for key, value in event.data.items() if key not in {"event", "level", "logger", "timestamp"}}
    place = {"operation": event.operation_id, "instance": event.instance, "database": event.database}
    known = {key: value for key, value in place.items() if value is not None}
    state = event.data.get("state")
    level = logging.INFO
    if state in {State.FAILED, State.PARTIAL}:
        level = logging.ERROR
    elif state in {State.CANCELLED, State.INTERRUPTED} or event.name in _DISTURBING:
        level = logging.WARNING
    structlog.get_logger("vya.events").log(level, event.name, **{**facts, **known, "actor": event.actor})


def _handlers(settings: LogSettings) -> list[logging.Handler]:
    handlers: list[logging.Handler] = []
    if settings.output in {"file", "both"}:
        handlers.append(_file_handler(settings.file_path))
    if settings.output in {"console", "both"}:
        # stderr: what a client prints as JSON on stdout stays alone there.
        handlers.append(logging.StreamHandler(sys.stderr))
    return handlers


def _file_handler(path: Path | None) -> LogFile:
    if path is None:
        raise ConfigError("logging.output wants a file and logging.file_path names none", hint="set logging.file_path")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        return LogFile(path)
    except OSError as error:
        raise ConfigError(
            f"cannot write the log file {path}: {error.strerror}",
            hint="logging.file_path must lie in a folder that the daemon's user may write",
        ) from error


def _shared_processors() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact_processor,
    ]


def _rendering(form: Literal["json", "text"]) -> list[structlog.typing.Processor]:
    if form == "json":
        return [
            structlog.processors.EventRenamer("event"),
            structlog.processors.JSONRenderer(_json, ensure_ascii=False),
        ]
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    return [_one_line, plain]


def _json(record: Any, **options: Any) -> str:
    """One line, whatever reads it."""
    return escaped(json.dumps(record, **options))


def redact_processor(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take secrets out of every value of a line, its exception included."""
    for key in list(event):
        if not key.startswith("_"):
            event[key] = redact_value(event[key])
    return event


def _one_line(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Control characters in a message or value cannot begin a line of their own in the text format."""
    for key, value in event.items():
        if isinstance(value, str) and key not in {"exception", "stack"} and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event
