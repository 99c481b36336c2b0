"""The doctor at home: store and disk, catalog and state, credentials, clock, programs."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import secrets
import shlex
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from vya_backupd.config import credentials
from vya_backupd.config.load import load
from vya_backupd.config.secrets_in import secrets_in
from vya_backupd.errors import VyaError
from vya_backupd.model.command import Command
from vya_backupd.model.finding import Finding, broken, doubtful, fine
from vya_backupd.operations.disk_outlook import days_shown, foresee
from vya_backupd.operations.doctor import Check, of_error
from vya_backupd.operations.site import Site
from vya_backupd.storage.failures import reporting

_FULL_SOON_DAYS, _FULL_DAYS = 14.0, 3.0
_LITTLE, _LEAST = 0.10, 0.01
"""Shares of a file system, in bytes or inodes, below which it is doubtful, and broken."""
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
"""Made by systemd-timesyncd when it has set the clock."""


def checks(site: Site) -> list[Check]:
    """The checks of the installation itself that need nobody above this room."""
    host = HostExamination(site)
    return [
        Check("storage", host.storage),
        Check("disk", host.disk),
        Check("inodes", host.inodes),
        Check("state", host.state),
        Check("catalog", host.catalog),
        Check("configuration", host.configuration),
        Check("credentials", host.credentials),
        Check("secrets", host.secrets),
        Check("tools", host.tools),
        Check("clock", host.clock),
        Check("access", host.access),
    ]


class HostExamination:
    """This machine, as far as it is ours."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def storage(self) -> Sequence[Finding]:
        """Whether a file can be written, and placed from the temporary folder into the store."""
        store = self._site.store
        await asyncio.to_thread(store.check)
        mode = stat.S_IMODE((await asyncio.to_thread(store.base_path.stat)).st_mode)
        if mode & 0o007:
            text = f"{store.base_path} has mode {mode:04o}: everybody on this machine can look into it"
            return [doubtful("storage", text, f"chmod o= {store.base_path}")]
        return [fine("storage", f"files move from {store.temp_path} to {store.base_path}")]

    async def disk(self) -> Sequence[Finding]:
        """Free space now, against the next round of backups, and in days to come."""
        outlook = await foresee(self._site)
        free = f"{outlook.free_bytes / 2**30:,.1f} GiB of {outlook.total_bytes / 2**30:,.1f} GiB are free"
        way = "Free space, shorten retention, or move to a larger disk."
        findings = []
        if outlook.largest_wants_bytes > outlook.free_bytes:
            text = f"{free}, and the largest backup wants {outlook.largest_wants_bytes / 2**30:,.1f} GiB: it will be refused"
            findings.append(broken("disk", text, way))
        elif outlook.round_bytes > outlook.free_bytes:
            text = f"{free}, and a backup of everything takes {outlook.round_bytes / 2**30:,.1f} GiB"
            findings.append(doubtful("disk", text, way))
        elif outlook.free_bytes < _LEAST * outlook.total_bytes:
            findings.append(broken("disk", free, way))
        elif outlook.free_bytes < _LITTLE * outlook.total_bytes:
            findings.append(doubtful("disk", free, way))
        days = outlook.days_until_full
        if days is not None and outlook.growth is not None and days < _FULL_SOON_DAYS:
            text = f"full in {days_shown(days)} if backups grow on as in the last {outlook.growth.days} days; {free}"
            findings.append((broken if days < _FULL_DAYS else doubtful)("disk", text, way))
        return findings or [fine("disk", f"{free}; {outlook.in_words}")]

    async def inodes(self) -> Sequence[Finding]:
        """Files that can yet be made: each backup is three."""
        base = self._site.store.base_path
        with reporting("ask for the free inodes of", base):
            figures = await asyncio.to_thread(os.statvfs, base)
        if not figures.f_files:
            return [fine("inodes", "the file system has no fixed number of files")]
        text = f"{figures.f_favail:,} of {figures.f_files:,} inodes are free"
        share = figures.f_favail / figures.f_files
        if share >= _LITTLE:
            return [fine("inodes", text)]
        way = "Delete small files, or move to a file system with more inodes."
        return [(broken if share < _LEAST else doubtful)("inodes", text, way)]

    async def state(self) -> Sequence[Finding]:
        """Whether the state folder can be written, and by nobody else."""
        folder = self._site.config.application.state_dir
        await asyncio.to_thread(_prove_writable, folder)
        mode = stat.S_IMODE((await asyncio.to_thread(folder.stat)).st_mode)
        if mode & 0o022:
            text = f"{folder} has mode {mode:04o}: others may put their own files there"
            return [broken("state", text, f"chmod go-w {folder}")]
        return [fine("state", f"{folder} can be written")]

    async def catalog(self) -> Sequence[Finding]:
        """Whether the index answers and takes what is written."""
        catalog = self._site.catalog
        await catalog.check()
        return [fine("catalog", f"revision {catalog.revision}, {await catalog.backups.count():,} backups")]

    async def configuration(self) -> Sequence[Finding]:
        """The configuration file as it is now, which is what a reload and the next start read."""
        path = self._site.settings.path
        if path is None:
            return [fine("configuration", "no file")]
        now = await asyncio.to_thread(load, path)
        if now != self._site.config:
            text = f"{path} was changed and is not in force yet"
            return [doubtful("configuration", text, "Reload the daemon, or restart it if the reload is refused.")]
        return [fine("configuration", f"{path} is in force as it is")]

    async def credentials(self) -> Sequence[Finding]:
        """The credentials file as it is now: mode, key and content; a reload would read just this."""
        place = credentials.location(self._site.config)
        found = await asyncio.to_thread(credentials.read, place)
        if found.warnings:
            return [doubtful("credentials", warning) for warning in found.warnings]
        count = len(found.instances)
        return [
            fine(
                "credentials", f"{place.file}: {count} instances, readable by us alone, key from {found.keyring.source}"
            )
        ]

    async def secrets(self) -> Sequence[Finding]:
        """Every secret that the configuration refers to."""
        references = list(secrets_in(self._site.config))
        findings = []
        for reference in references:
            try:
                await asyncio.to_thread(reference.reveal, self._site.settings.decrypt)
            except VyaError as error:
                findings.append(of_error("secrets", error))
        if findings or not references:
            return findings
        return [fine("secrets", f"all {len(references)} secrets of the configuration can be read")]

    async def tools(self) -> Sequence[Finding]:
        """The programs of this machine."""
        found = await self._site.tools.installed_tools()
        if not found:
            text = "no dump or client program was found"
            return [broken("tools", text, "Install the client packages of your servers' vendors, or see `tools`.")]
        return [fine("tools", ", ".join(sorted({tool.label for tool in found})))]

    async def clock(self) -> Sequence[Finding]:
        """The time zone, and whether somebody keeps the clock right."""
        zone = self._site.config.scheduling.timezone
        synchronised = await self._synchronised()
        if synchronised is None:
            return [fine("clock", f"time zone {zone}; whether the clock is synchronised is not told here")]
        if not synchronised:
            text = "the clock is not synchronised: schedules, names and retention depend on it"
            return [doubtful("clock", text, "Enable a time service: timedatectl set-ntp true, or chrony.")]
        return [fine("clock", f"time zone {zone}; the clock is synchronised")]

    async def access(self) -> Sequence[Finding]:
        """The groups that may use the control socket."""
        control = self._site.config.control
        found = []
        for key, names in (("operators", control.operators), ("viewers", control.viewers)):
            for name in names:
                try:
                    await asyncio.to_thread(grp.getgrnam, name)
                except KeyError:
                    text = f"control.{key} names the group {name}, which this machine does not have: it lets nobody in"
                    found.append(
                        doubtful("access", text, f"groupadd {shlex.quote(name)}, or correct the name; then reload.")
                    )
        return found or [fine("access", "every group of control.operators and control.viewers exists")]

    async def _synchronised(self) -> bool | None:
        program = shutil.which("timedatectl")
        if program is not None:
            command = Command((program, "show", "--property=NTPSynchronized", "--value"), name="timedatectl")
            with contextlib.suppress(VyaError):
                answer = await self._site.spawner.run(command, timeout=5)
                if answer.exit.ok and answer.stdout.strip() in (b"yes", b"no"):
                    return answer.stdout.strip() == b"yes"
        return True if _SYNCHRONISED.exists() else None


def _prove_writable(folder: Path) -> None:
    path = folder / f".doctor-{secrets.token_hex(6)}"
    with reporting("write into", folder):
        try:
            path.touch(mode=0o600, exist_ok=False)
        finally:
            path.unlink(missing_ok=True)
