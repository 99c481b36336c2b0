"""What every command is handed: where the daemon is, how to answer, and how to ask a person."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vya_backupd.client.screen import Screen
from vya_backupd.errors import UsageError

if TYPE_CHECKING:
    from vya_backupd.client.transport import ControlClient

DEFAULT_SOCKET = "/run/vya-backupd/control.sock"
DEFAULT_CONFIG = "/etc/vya_backupdb/config.yaml"


@dataclass(slots=True)
class Session:
    """One run of the client.

    ``standalone``: the work is done in this process, by the configuration at ``config``, and ends with it.
    """

    screen: Screen = field(default_factory=Screen)
    socket_path: str = DEFAULT_SOCKET
    config: str = DEFAULT_CONFIG
    standalone: bool = False

    @contextmanager
    def daemon(self) -> Iterator[ControlClient]:
        """Somebody who answers the control API: the daemon, or with ``--standalone`` this process itself."""
        from vya_backupd.client.transport import ControlClient

        if not self.standalone:
            yield ControlClient(self.socket_path)
            return
        from vya_backupd.client.standalone import serve

        with serve(self.config) as socket_path:
            yield ControlClient(socket_path)

    @property
    def program(self) -> str:
        """The name that this client was called by."""
        name = sys.argv[0].rpartition("/")[2]
        return name if name in {"vyactl", "vya-backupdb"} else "vyactl"

    def require_terminal(self, what: str, way_out: str) -> None:
        """Refuse to ask where nobody can answer.

        Raises:
            UsageError: stdin is not a terminal (``confirmation_required``).
        """
        if not sys.stdin.isatty():
            raise UsageError(f"{what}, and there is no terminal to ask on", code="confirmation_required", hint=way_out)

    def ask(self, question: str) -> str:
        """A line from the person. Raises UsageError when the input ends."""
        print(question, end=" ", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise UsageError(
                "the input ended before the question was answered",
                code="confirmation_required",
                hint="Nothing was done.",
            )
        return line.rstrip("\r\n")
