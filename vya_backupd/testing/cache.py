"""Where servers that no package manager installed are kept between runs; never inside the repository."""

from __future__ import annotations

import os
from pathlib import Path


def server_cache() -> Path:
    """``VYA_SERVER_CACHE``; by default a folder of root's that everybody reads, or one in the caller's home."""
    named = os.environ.get("VYA_SERVER_CACHE")
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/cache/vya_backupdb/servers")
    return Path.home() / ".cache" / "vya_backupdb" / "servers"


def readable_caches() -> list[Path]:
    """Our own cache first, then the one that root may have filled for all."""
    folders = [server_cache()]
    if not os.environ.get("VYA_SERVER_CACHE"):
        folders.append(Path("/var/cache/vya_backupdb/servers"))
    return [folder for folder in dict.fromkeys(folders) if os.access(folder, os.R_OK | os.X_OK)]
