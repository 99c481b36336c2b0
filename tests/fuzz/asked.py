"""What clients ask of the control socket: bodies as JSON, and whole requests as bytes."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.api.service import RecordedService
from tests.fuzz.target import Target
from vya_backupd.api import control
from vya_backupd.api.access import Access
from vya_backupd.api.listen import Site, bind_unix
from vya_backupd.api.route import Asked
from vya_backupd.api.wire import parse_place, parse_time, place_of
from vya_backupd.errors import UsageError
from vya_backupd.model.operation import OperationKind
from vya_backupd.operations.requests import BackupRequest, PruneRequest, RestoreRequest, VerifyRequest

_REQUESTS = (BackupRequest, RestoreRequest, VerifyRequest, PruneRequest)
_WORDS = (
    b"null", b"true", b"-1", b"65", b"1e999", b"NaN", b'""', b"[]", b"{}", b'["a",1]', b"[" * 3000, b'"\\u0000"', b'"\\ud800"',
    b'"all":true', b'"tables":["a"]', b'"file":"/a"', b'"target_table":"x"', b'"append":true', b'"data_only":true', b"9" * 5000,
)  # fmt: skip
_SEEDS = (
    {"instances": ["a"], "databases": ["b"], "workers": 3, "compression_level": 6, "codec": "zstd"},
    {"instance": "a", "database": "b", "latest": True, "target_instance": "c", "tables": ["t"], "data_only": True},
    {"file": "/a/b.sql.gz", "target_database": "x", "overwrite": True, "confirmed_target": "x"},
    {"backup_id": "01J", "sessions": 4, "skip_binlog": True, "datetime": "2026-01-09T10:00:00Z"},
    {"instances": None, "database": "d"},
)


def _bodies(data: bytes) -> None:
    """Every kind of request is refused by UsageError, or holds what was asked for, in the types that it promises."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    for kind in _REQUESTS:
        try:
            request = kind.parse(body) if isinstance(body, dict) else None
        except UsageError as error:
            json.dumps(error.to_json()).encode()
            continue
        for key, value in body.items() if request is not None else ():
            assert getattr(request, key) == (tuple(value) if isinstance(value, list) else value)
    if isinstance(body, dict):
        for key, value in body.items():
            _one_word(Asked("fuzz", body), key, value)


def _one_word(asked: Asked, key: str, value: Any) -> None:
    for parse in (lambda: asked.text(key), lambda: parse_time(str(value)), lambda: parse_place(str(value))):
        try:
            found = parse()
        except UsageError:
            continue
        if isinstance(found, tuple):
            assert parse_place(place_of({"taken_at": found[0].isoformat(), "id": found[1]})) == found


class _Shown(RecordedService):
    """Parses what is submitted as the real one does."""

    def config(self) -> dict[str, Any]:
        return {}

    async def submit(self, kind: OperationKind, request: dict[str, Any], actor: str) -> dict[str, Any]:
        kinds = {OperationKind.BACKUP: BackupRequest.parse, OperationKind.RESTORE: RestoreRequest.parse}
        parsed = kinds.get(kind, VerifyRequest.parse)(request)
        return {"kind": str(kind), "request": str(parsed), "actor": actor}

    async def plan_restore(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"plan": str(RestoreRequest.parse(request))}


class _Daemon:
    """A control site in a thread of its own, which notes what its event loop complains of."""

    def __init__(self) -> None:
        self.complaints: list[dict[str, Any]] = []
        self._folder = tempfile.TemporaryDirectory(prefix="vya-fuzz-")
        self.path = Path(self._folder.name) / "c.sock"
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True).start()
        assert ready.wait(60)

    async def _serve(self, ready: threading.Event) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.complaints.append(context))
        service = _Shown()
        service.hold_watch.set()
        site = Site(control.control_app(service, Access((), ())), bind_unix(self.path), max_connections=20)
        await site.start()
        ready.set()
        await asyncio.Event().wait()

    def send(self, data: bytes) -> bytes:
        """What is answered to these bytes, after which the sender has nothing more to say."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(str(self.path))
            answer = b""
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while piece := client.recv(1 << 16):
                    answer += piece
            except ConnectionError:
                pass
            return answer


_running: list[_Daemon] = []


def _http(data: bytes) -> None:
    """Whatever comes, nothing breaks inside, and the next client is answered."""
    if not _running:
        _running.append(_Daemon())
    daemon = _running[0]
    answer = daemon.send(data)
    assert b"unexpected failure inside the daemon" not in answer, answer[-500:]
    assert not daemon.complaints, daemon.complaints
    assert b"HTTP/1.1 500" not in answer, answer[-500:]


_HTTP_WORDS = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n",
    b"ffffffffffffffff\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n", b"HTTP/9.9", b"HTTP/1.0",
    b"%00", b"%2e%2e/", b"//", b"?limit=1&limit=2", b"after=2026-01-09T10:00:00Z%20x", b"Content-Encoding: gzip\r\n", b"\xff", b"PRI * HTTP/2.0",
    b"Content-Type: multipart/form-data; boundary=x\r\n", b"Host: a\r\nHost: b\r\n", b" GET /v1/status HTTP/1.1\r\n", b"x" * 9000,
)  # fmt: skip


def _http_seeds() -> list[bytes]:
    body = json.dumps({"kind": "restore", "request": _SEEDS[2]}).encode()
    head = b"POST /v1/operations HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % len(body)
    chunked = b"POST /v1/restore/plan HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    gets = (
        "status",
        "backups?limit=5&after=2026-01-09T10:00:00Z%20x",
        "operations?state=running",
        "operations/x/watch",
        "metrics",
    )
    return [head + body, chunked, *(f"GET /v1/{path} HTTP/1.1\r\nHost: d\r\n\r\n".encode() for path in gets)]


TARGETS = (
    Target("requests", _bodies, lambda: [json.dumps(seed).encode() for seed in _SEEDS], _WORDS, examples=300),
    Target("http", _http, _http_seeds, _HTTP_WORDS, examples=150),
)
