"""``vya-backupd``: the daemon's command line."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

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

    from vya_backupd.app import run_daemon

    return run_daemon(options.config)


if __name__ == "__main__":
    sys.exit(main())
