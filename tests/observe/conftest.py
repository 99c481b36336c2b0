from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from vya_backupd.observe.redaction import forget_secrets


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Logging as it was before, for tests that configure it."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in list(root.handlers):
        if getattr(handler, "is_ours", False):
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    forget_secrets()
