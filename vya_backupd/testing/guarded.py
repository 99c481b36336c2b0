"""The owner's side of the guard: start a server under it, and stop it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from vya_backupd.testing import guard

_STOP_SECONDS = 30.0


class GuardedProcess:
    """A running server that does not outlive this process. See ``guard``."""

    def __init__(
        self, command: list[str], *, data_dir: Path, remove_dir: Path, orphan_signal: str, log_path: Path
    ) -> None:
        """Start ``command`` in ``data_dir``; its output is appended to ``log_path``."""
        self._data_dir = str(data_dir.resolve())
        with log_path.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, self._data_dir, str(remove_dir), orphan_signal, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C on our terminal is for us: we stop the server in good order
            )
        if self._guard.stdout is None:
            raise RuntimeError("a piped process has no pipe")
        self.pid = int(self._guard.stdout.readline() or 0)

    @property
    def running(self) -> bool:
        """Whether the server lives."""
        return self._guard.poll() is None

    def stop(self, number: signal.Signals) -> None:
        """Send the server ``number``, wait until it is gone; SIGKILL for all its processes after 30 s."""
        if self.running:
            guard.send(self.pid, number)
        try:
            self._guard.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._close()

    def kill(self) -> None:
        """SIGKILL for all processes of the server at once, as the kernel would when memory ends."""
        guard.kill_family(self._data_dir, self.pid)
        self._guard.wait(_STOP_SECONDS)
        self._close()

    def _close(self) -> None:
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                pipe.close()
