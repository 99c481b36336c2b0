"""Real programs of others for tests: found, or the test says loudly that it did not run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vya_backupd.testing.peers import find_peer, missing_peers


def require_peer(name: str) -> Path:
    """The program; skips the test when this machine has none, and fails it with ``VYA_REQUIRE_SERVERS=1``."""
    found = find_peer(name)
    if found is not None:
        return found
    reason = f"{name} is missing; get it by: {missing_peers().get(name, 'installing it')}"
    if os.environ.get("VYA_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
