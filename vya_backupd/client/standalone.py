"""The one module of the client that opens the product itself, for what needs no daemon, or must do without one.

Everything is imported inside the functions: ``vyactl --help`` shall not pay for database drivers.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


@contextmanager
def serve(config: str) -> Iterator[str]:
    """Run the product inside this process and yield the path of its private control socket.

    A SIGTERM ends the work as Ctrl-C does, since timers and Kubernetes stop a job that way.

    Raises:
        ConfigError: configuration, credentials or storage cannot be used.
        BusyError: a daemon, or another such run, holds the state directory.
    """
    from vya_backupd import app

    before = signal.signal(signal.SIGTERM, _like_ctrl_c)
    try:
        with app.standalone(Path(config)) as socket_path:
            yield str(socket_path)
    finally:
        signal.signal(signal.SIGTERM, before)


def _like_ctrl_c(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def validate(config: str) -> dict[str, Any]:
    """Load configuration and credentials, and count what they name. Raises ConfigError listing every mistake."""
    from vya_backupd.config.credentials import load_instances
    from vya_backupd.config.load import load

    loaded = load(Path(config))
    instances = load_instances(loaded)
    return {
        "config": config,
        "valid": True,
        "instances": [{"id": item.id, "type": item.kind.value, "enabled": item.enabled} for item in instances],
    }


def show_config(config: str) -> dict[str, Any]:
    """The configuration with defaults filled in and secrets masked. Raises ConfigError."""
    from vya_backupd.config.load import load, show

    return dict(show(load(Path(config))))
