"""HTTP over the daemon's Unix socket, for a program that runs one command and ends.

``http.client`` and not aiohttp: a client that asks one thing at a time gains nothing from an event loop, and starts in
a third of the time. Every failure to reach the daemon becomes an ``UnreachableError`` or a ``DeniedError`` here, and
every refusal by the daemon becomes the ``VyaError`` that it sent.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from vya_backupd.errors import DeniedError, NotFoundError, UnreachableError, UsageError, VyaError

ANSWER_SECONDS = 30.0
"""How long an ordinary answer may take."""
PATIENT_SECONDS = 180.0
"""How long an answer may take that makes the daemon talk to database servers, or the pause between two watch lines."""

_PIECE = 1 << 20

Query = dict[str, str | int | None]


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection whose other end is a path."""

    def __init__(self, socket_path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._socket_path = socket_path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


class ControlClient:
    """Asks the daemon that listens on ``socket_path``; one connection per question."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path

    def get(self, path: str, query: Query | None = None, *, timeout: float = ANSWER_SECONDS) -> Any:
        """Read something. Raises VyaError as the daemon sent it, UnreachableError, DeniedError."""
        return self._ask("GET", path, query, None, timeout)

    def post(self, path: str, body: dict[str, Any] | None = None, *, timeout: float = ANSWER_SECONDS) -> Any:
        """Change something, or ask a question that needs a body. Raises as ``get``."""
        return self._ask("POST", path, None, body or {}, timeout)

    def delete(self, path: str) -> Any:
        """Delete something. Raises as ``get``."""
        return self._ask("DELETE", path, None, None, PATIENT_SECONDS)

    def text(self, path: str, *, accept: str) -> tuple[str, str]:
        """Read a page that is not JSON; returns its text and content type. Raises as ``get``."""
        with self._answer("GET", path, None, ANSWER_SECONDS, {"Accept": accept}) as answer:
            data = answer.read()
            if answer.status >= 400:
                raise _refusal(answer.status, data)
            return data.decode("utf-8", "replace"), answer.headers.get("Content-Type", "text/plain")

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[bytes]:
        """The bytes of an answer as they come. Raises as ``get``, also when the answer breaks off."""
        with self._answer("POST", path, body, PATIENT_SECONDS, {}) as answer:
            if answer.status >= 400:
                raise _refusal(answer.status, answer.read())
            while piece := answer.read(_PIECE):
                yield piece

    def health(self) -> tuple[bool, dict[str, Any]]:
        """The health record, and whether it says healthy: 503 is an answer here, not a failure."""
        with self._answer("GET", "/v1/health", None, ANSWER_SECONDS, {}) as answer:
            data = answer.read()
            if answer.status not in {200, 503}:
                raise _refusal(answer.status, data)
            record = _decoded(data)
            if not isinstance(record, dict) or "error" in record:
                raise _refusal(answer.status, data)
            return answer.status == 200, record

    def lines(self, path: str) -> Iterator[dict[str, Any]]:
        """The records of an NDJSON answer as they come; ends when the daemon ends it or goes away. Raises as ``get``."""
        with self._answer("GET", path, None, PATIENT_SECONDS, {}) as answer:
            if answer.status >= 400:
                raise _refusal(answer.status, answer.read())
            while line := answer.readline():
                if not line.endswith(b"\n"):
                    raise self._lost("the answer broke off")
                if line.strip():
                    yield dict(_decoded(line))

    def _ask(self, method: str, path: str, query: Query | None, body: dict[str, Any] | None, timeout: float) -> Any:
        if query:
            chosen = {key: value for key, value in query.items() if value is not None}
            path = f"{path}?{urlencode(chosen)}" if chosen else path
        with self._answer(method, path, body, timeout, {}) as answer:
            data = answer.read()
            if answer.status >= 400:
                raise _refusal(answer.status, data)
            return _decoded(data) if data else {}

    @contextmanager
    def _answer(
        self, method: str, path: str, body: dict[str, Any] | None, timeout: float, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer whose status has been read. Failures of the socket become errors with a way out."""
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers = {**headers, "Content-Type": "application/json"}
        with closing(_UnixConnection(self.socket_path, timeout)) as connection:
            try:
                connection.request(method, path, body=data, headers=headers)
                yield connection.getresponse()
            except TimeoutError as error:
                raise self._lost(f"no answer for {timeout:.0f} s") from error
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error

    def _unreachable(self, error: OSError | http.client.HTTPException) -> VyaError:
        where = self.socket_path
        if isinstance(error, PermissionError):
            return DeniedError(
                f"you may not open the control socket {where}",
                hint="Use an account in one of the groups of control.viewers or control.operators, or root.",
            )
        if isinstance(error, FileNotFoundError):
            return UnreachableError(f"no daemon: there is no control socket at {where}", hint=_START_HINT)
        if isinstance(error, ConnectionRefusedError):
            return UnreachableError(f"no daemon: nobody answers at {where}", hint=_START_HINT)
        if isinstance(error, OSError) and "path too long" in str(error):
            return UsageError(f"the path of the control socket is too long: {where}", hint="Sockets allow 107 bytes.")
        return self._lost(str(error) or type(error).__name__)

    def _lost(self, what: str) -> UnreachableError:
        return UnreachableError(
            f"the connection to the daemon at {self.socket_path} failed: {what}",
            hint="See whether the daemon runs (systemctl status vya-backupd) and what its log says.",
        )


_START_HINT = (
    "Start it (systemctl start vya-backupd), name its socket with --socket or VYA_SOCKET, "
    "or run backup, restore and verify with --standalone."
)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise UnreachableError(
            "what answers on the control socket does not speak the daemon's language",
            hint="Check that --socket names the socket of vya-backupd.",
        ) from error


def _refusal(status: int, data: bytes) -> VyaError:
    """The error that the daemon sent, or one made from the bare status."""
    try:
        record = json.loads(data)["error"]
        return VyaError.from_json(dict(record))
    except (ValueError, KeyError, TypeError):
        text = data.decode("utf-8", "replace").strip()[:200] or f"HTTP status {status}"
    if status == 403:
        return DeniedError(text)
    if status == 404:
        return NotFoundError(text, code="usage", hint="The daemon may be older than this client.")
    return VyaError(f"the daemon answered with status {status}: {text}", hint="The daemon's log has the details.")
