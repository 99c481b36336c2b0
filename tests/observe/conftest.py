from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from tests.observe.house import House
from tests.observe.peers import HttpPeer, MailPeer
from vya_backupd.catalog import Catalog
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


@pytest.fixture(scope="module")
def mail_peer() -> Iterator[MailPeer]:
    with MailPeer() as peer:
        yield peer


@pytest.fixture(scope="module")
def http_peer() -> Iterator[HttpPeer]:
    with HttpPeer() as peer:
        yield peer


@pytest.fixture
async def house(tmp_path: Path, mail_peer: MailPeer, http_peer: HttpPeer) -> AsyncIterator[House]:
    mail_peer.is_down = False
    mail_peer.mails.clear()
    mail_peer.manners.answers.clear()
    http_peer.requests.clear()
    http_peer.statuses.clear()
    catalog = Catalog(f"sqlite+aiosqlite:///{tmp_path / 'catalog.db'}")
    await catalog.open()
    house = House(tmp_path, catalog, mail_peer, http_peer)
    await house.tell()  # from here on: what was before is nobody's business
    yield house
    await catalog.close()
