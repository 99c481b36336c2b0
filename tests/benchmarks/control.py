"""The daemon's control socket, spoken to without the client: starting Python is not what is measured."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any


class _Connection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=3600)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def ask(path: Path, method: str, target: str, body: Any = None) -> Any:
    """One request. RuntimeError with the answer's text where it is no success."""
    connection = _Connection(path)
    try:
        connection.request(method, target, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {target}: {answer.status} {text}")
        return json.loads(text)
    finally:
        connection.close()


def _watch(path: Path, operation: str) -> Iterator[dict[str, Any]]:
    connection = _Connection(path)
    try:
        connection.request("GET", f"/v1/operations/{operation}/watch")
        for line in connection.getresponse():
            if line.strip():
                yield json.loads(line)
    finally:
        connection.close()


def operate(path: Path, kind: str, **request: Any) -> dict[str, Any]:
    """Submit an operation and wait for its end. Its result record.

    Raises:
        RuntimeError: it did not succeed.
    """
    submitted = ask(path, "POST", "/v1/operations", {"kind": kind, "request": request})
    for record in _watch(path, submitted["operation"]["id"]):
        if record["type"] == "finished":
            if record["operation"]["state"] != "succeeded":
                raise RuntimeError(json.dumps(record)[:4000])
            return record
    raise RuntimeError("the watch ended before the operation")
