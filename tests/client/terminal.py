"""The client on a pseudo-terminal, as a person has it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import PATIENCE

VYACTL = str(Path(sys.executable).parent / "vyactl")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs a program on a terminal of its own; ``expect`` waits for text, ``type`` answers."""

    def __init__(self, *argv: str, cwd: Path | None = None) -> None:
        self._fd, child = pty.openpty()
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
        self._process = subprocess.Popen(
            argv, stdin=child, stdout=child, stderr=child, cwd=cwd, env=env, start_new_session=True
        )
        os.close(child)
        self._raw = ""

    @property
    def text(self) -> str:
        """Everything that appeared so far, without the codes that colour and move."""
        return _ESCAPES.sub("", self._raw).replace("\r\n", "\n")

    @property
    def raw(self) -> str:
        return self._raw

    def expect(self, pattern: str, *, seconds: float = PATIENCE) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            assert self._read(deadline), f"{pattern!r} did not appear in:\n{self.text}"
        return found

    def answer(self, line: str) -> None:
        os.write(self._fd, line.encode() + b"\n")

    def interrupt(self) -> None:
        os.kill(self._process.pid, signal.SIGINT)

    def wait(self, seconds: float = PATIENCE) -> int:
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        """Take in what appears next; False when the program is gone or the time is up."""
        ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        self._raw += data.decode("utf-8", "replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._fd)
