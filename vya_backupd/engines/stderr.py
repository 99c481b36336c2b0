"""What a tool's last words mean: exit status and standard error in, one error with code and hint out.

Rules are data, tried in order over the whole text; the message is the first line that tells something. Lines are
shortened, user names masked, and passwords in quoted statements left out: the result goes to logs and people.
"""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Sequence
from dataclasses import dataclass

from vya_backupd.errors import NotFoundError, ServerError, ToolError, VyaError
from vya_backupd.model.secret import mask_user

_LENGTH = 400


@dataclass(frozen=True, slots=True)
class Rule:
    """``pattern`` found in standard error means ``code``."""

    pattern: re.Pattern[str]
    code: str
    hint: str
    retryable: bool = False


def rule(pattern: str, code: str, hint: str, *, retryable: bool = False) -> Rule:
    """A rule whose pattern ignores case."""
    return Rule(re.compile(pattern, re.IGNORECASE), code, hint, retryable)


_ECHO = re.compile(r"^-{14}\n.*?(?:^-{14}\n|\Z)", re.MULTILINE | re.DOTALL)
"""MariaDB's client repeats the statement that failed between two lines: it may hold anything, secrets too."""

_SURE = re.compile(
    r"^(ERROR \d+|psql:.*?(ERROR|FATAL):|\S+: (error|fatal|got error)\b)|\b(FATAL|ERROR|PANIC): ", re.IGNORECASE
)
_TOLD = re.compile(r"\b(error|fatal|panic|failed|denied|refused|mismatch|aborting)\b", re.IGNORECASE)
_QUOTED_USER = re.compile(r"""((?:user|role) )(["'`])([^"'`]+)\2""", re.IGNORECASE)
_ACCOUNT = re.compile(r"'([^'@]+)'@'")
_SECRET = re.compile(r"\b(password|identified)\b(?=.*['\"]).*", re.IGNORECASE)
_SECRET_STATEMENT = re.compile(r"\b(identified\s+(by|with|via)|password\s+')", re.IGNORECASE)


def clean(line: str) -> str:
    """A line fit for people: one line, of bounded length, without secrets, with masked user names."""
    line = " ".join(line.split())
    if _SECRET_STATEMENT.search(line):
        line = _SECRET.sub(r"\1 ***", line)
    line = _QUOTED_USER.sub(lambda found: f"{found[1]}{found[2]}{mask_user(found[3])}{found[2]}", line)
    line = _ACCOUNT.sub(lambda found: f"'{mask_user(found[1])}'@'", line)
    return line if len(line) <= _LENGTH else line[: _LENGTH - 1] + "…"


def telling_line(stderr: str) -> str:
    """The first line that says what went wrong; else the last three, of which each may need the others; or nothing."""
    lines = [line for line in _ECHO.sub("", stderr).splitlines() if line.strip()]
    for pattern in (_SURE, _TOLD):
        for line in lines:
            if pattern.search(line) and "warning" not in line.lower():
                return clean(line)
    return clean(" ".join(lines[-3:]))


def says_anything(stderr: str) -> bool:
    """Whether there is a line that is no warning."""
    return any(line.strip() and "warning" not in line.lower() for line in stderr.splitlines())


def classify(
    rules: Sequence[Rule], tool: str, returncode: int, signal: int | None, stderr: str, otherwise: str = "tool_failed"
) -> VyaError:
    """The error of a tool that did not end well. ``otherwise`` is the code when no rule knows the text."""
    known = known_failure(rules, tool, stderr)
    if known is not None:
        return known
    line = telling_line(stderr)
    if signal is not None:
        name = signals.Signals(signal).name if signal in set(signals.Signals) else str(signal)
        hint = "SIGKILL often means that memory ran out: see the kernel's log." if signal == signals.SIGKILL else ""
        said = f": {line}" if line else ""
        return ToolError(f"{tool} was ended by {name}{said}", code="tool_killed", hint=hint, retryable=True)
    said = line or "it said nothing"
    return ToolError(f"{tool} ended with status {returncode}: {said}", code=otherwise)


def known_failure(rules: Sequence[Rule], what: str, text: str) -> VyaError | None:
    """The error of the first rule that knows the text; ``what`` begins its message."""
    searched = _ECHO.sub("", text)
    for each in rules:
        if each.pattern.search(searched):
            return _error(each.code, f"{what}: {telling_line(text)}", each.hint, retryable=each.retryable)
    return None


def _error(code: str, message: str, hint: str, *, retryable: bool) -> VyaError:
    if code == "unknown_database":
        return NotFoundError(message, code=code, hint=hint, retryable=retryable)
    cls = ToolError if code.startswith(("tool_", "restore_")) else ServerError
    return cls(message, code=code, hint=hint, retryable=retryable)


HINT_LOGIN = (
    "Check user name and password of the instance in the credentials file, and from where the account may log in."
)
HINT_CONNECT = "Check that the server runs, and host, port or socket of the instance."
HINT_TLS = "Check the instance's `ssl` settings against what the server offers: mode, ca_cert, host name."
HINT_LOST = "The server went away or ended the session: see its log. The step is tried again."
HINT_RIGHT = "Grant the backup account what the message names."
HINT_LOCK = "Another session holds a lock (a migration, an ALTER): the step is tried again."
HINT_CHANGED = "Tables were altered, dropped or renamed while they were dumped: the step is tried again."
HINT_BUSY = "The server has no free connection: raise its limit, or back up at another time."
