"""The shipped rotation, by the real logrotate, under a log and an audit that are being written."""

from __future__ import annotations

import grp
import gzip
import os
import pwd
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from tests.observe.chains import follow
from tests.peers import require_peer
from vya_backupd.catalog import Catalog
from vya_backupd.model.event import Event
from vya_backupd.observe.audit import AuditTerms, AuditTrail
from vya_backupd.observe.audit_file import forerunners
from vya_backupd.observe.log import LogSettings, configure_logging

SHIPPED = Path(__file__).parents[2] / "config" / "logrotate" / "vya-backupd"
ROUNDS = 4


def rotation(folder: Path) -> Path:
    """The shipped file, for files and the user of this test."""
    text = (
        SHIPPED.read_text().replace("/var/log/vya_backupdb", str(folder)).replace("/var/lib/vya_backupdb", str(folder))
    )
    me = f"su {pwd.getpwuid(os.geteuid()).pw_name} {grp.getgrgid(os.getegid()).gr_name}"
    text = re.sub(r"su \S+ \S+", me if os.geteuid() == 0 else "", text)
    # There the two lie apart; here one folder holds both, so the log's pattern must not take the audit too.
    path = folder / "rotation.conf"
    path.write_text(text.replace("*.log", "vya-backupd.log"))
    path.chmod(0o644)
    return path


def rotate(config: Path, *, force: bool = True) -> str:
    state = config.with_name("rotation.state")
    command: list[str | Path] = [require_peer("logrotate"), "--state", state, "--force" if force else "--debug", config]
    done: subprocess.CompletedProcess[str] = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
    return done.stderr


@pytest.mark.usefixtures("logging_restored")
async def test_the_shipped_rotation_loses_no_line_and_breaks_no_chain(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir(mode=0o700)
    config = rotation(folder)
    assert "considering log" in rotate(config, force=False)
    catalog = Catalog(f"sqlite+aiosqlite:///{tmp_path / 'catalog.db'}")
    await catalog.open()
    trail = AuditTrail(catalog, lambda: AuditTerms(folder / "audit.log"), lambda: datetime.now(UTC))
    configure_logging(LogSettings("INFO", "json", "file", folder / "vya-backupd.log"))
    for number in range(ROUNDS):
        structlog.get_logger("vya.test").info("round", number=number)
        await catalog.record(Event("backup.deleted", datetime.now(UTC), data={"n": number}))
        head = await trail.flushed()
        rotate(config)
    structlog.get_logger("vya.test").info("round", number=ROUNDS)
    await catalog.record(Event("backup.deleted", datetime.now(UTC), data={"n": ROUNDS}))
    head = await trail.flushed()
    await catalog.close()
    logs = {path.name for path in folder.glob("vya-backupd.log*")}
    assert logs == {"vya-backupd.log", "vya-backupd.log.1", *(f"vya-backupd.log.{n}.gz" for n in range(2, ROUNDS + 1))}
    packed = gzip.decompress((folder / f"vya-backupd.log.{ROUNDS}.gz").read_bytes())
    assert b'"number": 0' in packed
    assert len(forerunners(folder / "audit.log")) == ROUNDS + 1
    found = follow(forerunners(folder / "audit.log"), head)
    assert (found.problems, found.lines) == ([], 2 * (ROUNDS + 1))
