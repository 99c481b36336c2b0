"""``vya-backupd``: the daemon's command line."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

from vya_backupd import __version__

_EPILOG = """\
signals: SIGTERM and SIGINT stop in order (a second one at once); SIGHUP reads the configuration again.
exit codes: 0 stopped in order; 1 failed; 6 another process holds the state directory; 78 configuration.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the daemon in the foreground."""
    parser = argparse.ArgumentParser(
        prog="vya-backupd",
        description="Backs up and restores MySQL, MariaDB and PostgreSQL. Runs in the foreground; vyactl talks to it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = os.environ.get("VYA_CONFIG", "/etc/vya_backupdb/config.yaml")
    parser.add_argument(
        "--config", type=Path, default=Path(default), help="configuration file (env VYA_CONFIG; default: %(default)s)"
    )
    parser.add_argument("--version", action="version", version=f"vya-backupd {__version__}")
    options = parser.parse_args(argv)

    # A reload that is asked for during the start must not be the end: the start reads the files anyway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _import_lightly()
    from vya_backupd.app import run_daemon

    return run_daemon(options.config)


def _import_lightly() -> None:
    """Prepare the imports of a daemon, of which most of its start consists.

    What modules define stays for good: looking through it for garbage, again and again as it grows, takes a fifth of
    the time. structlog would load rich, for tracebacks in colour that a daemon never prints: four megabytes.
    """
    gc.disable()
    sys.modules.setdefault("rich", cast("ModuleType", None))


if __name__ == "__main__":
    sys.exit(main())
