"""Making the parts: from configuration and credentials to the site that the use cases work on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from vya_backupd import faults
from vya_backupd.catalog import Catalog
from vya_backupd.config import credentials
from vya_backupd.config.load import load
from vya_backupd.config.schema import Config
from vya_backupd.config.secrets_in import secret_parts, secrets_in
from vya_backupd.dumpfile import manifest as manifests
from vya_backupd.engines.tools import ToolRole
from vya_backupd.errors import ConfigError
from vya_backupd.model.backup import Manifest
from vya_backupd.observe.counting import counts_of
from vya_backupd.observe.log import LogSettings, configure_logging
from vya_backupd.observe.redaction import register_secret
from vya_backupd.operations import limits
from vya_backupd.operations.site import Settings, Site
from vya_backupd.pipeline.files import read_companion
from vya_backupd.pipeline.pool import new_pool
from vya_backupd.policy.naming import Naming, data_suffixes
from vya_backupd.probe import Probe
from vya_backupd.process import Priority, Spawner, ToolFinder, ToolSearch
from vya_backupd.storage import LocalStore, ManifestCodec
from vya_backupd.storage.mirror import MirroredStore
from vya_backupd.storage.watched import WatchedStore


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC) + faults.clock_offset()


def read_settings(config_path: Path) -> Settings:
    """Configuration and credentials, read as one. Raises ConfigError."""
    config = load(config_path)
    found = credentials.read(credentials.location(config))
    _keep_secret(config, found)
    return Settings(
        config,
        {instance.id: instance for instance in found.instances},
        found.keyring.decrypt,
        {entry.id: entry for entry in found.entries},
        found.keyring.encrypt,
        config_path,
    )


def _keep_secret(config: Config, found: credentials.Credentials) -> None:
    """Have nobody write down what these files hold in secret: logins, keys, and what the configuration refers to.

    A reference that leads nowhere is told by whoever needs it.
    """
    for instance in found.instances:
        if instance.password:
            register_secret(instance.password.reveal())
    for key in found.keyring.keys:
        register_secret(key)
    for reference in secrets_in(config):
        with contextlib.suppress(ConfigError):
            for text in secret_parts(reference.reveal(found.keyring.decrypt).reveal()):
                register_secret(text)


async def build_site(settings: Settings, closing: contextlib.AsyncExitStack) -> Site:
    """Store, catalog and everything that works on them, in the order in which they are opened."""
    config = settings.config
    store = store_of(config)
    await asyncio.to_thread(store.prepare)
    spawner = Spawner(config.application.state_dir / "run", priority_of(config))
    spawner.sweep()
    pool = new_pool()
    closing.callback(pool.shutdown, wait=False, cancel_futures=True)
    catalog = Catalog(config.catalog_url(settings.decrypt).reveal(), counting=counts_of)
    await catalog.open()
    closing.push_async_callback(catalog.close)

    def patience() -> float:
        return site.config.backup.stall_timeout.total_seconds()

    site = Site(
        settings=settings,
        store=store,
        catalog=catalog,
        spawner=spawner,
        tools=tools_of(spawner, config),
        probe=Probe(patience),
        pool=pool,
        naming=naming_of(config),
        dumps=asyncio.Semaphore(config.backup.workers),
        now=utc_now,
        decode_manifest=_decode_manifest,
    )
    site.limits.overrides = limits.from_text(await catalog.marks.get(limits.MARK))
    return site


def store_of(config: Config) -> LocalStore:
    """The store, not yet prepared: one that a sync client watches, or mirrors for it, where so configured."""
    local, checksums, idrive = config.storage.local, config.storage.checksums, config.storage.idrive
    codec = ManifestCodec(manifests.encode_manifest, manifests.decode_manifest, manifests.checksum_line)
    kind: Callable[..., LocalStore] = LocalStore
    if idrive.enabled and idrive.sync_folder is not None:
        around = local.base_path.resolve().is_relative_to(idrive.sync_folder.resolve())
        kind = partial(WatchedStore if around else MirroredStore, sync_folder=idrive.sync_folder)
    return kind(
        local.base_path,
        codec,
        temp_path=local.temp_path,
        data_suffix=data_suffixes(config.storage.file_naming.pattern),
        checksum_files=checksums.enabled and checksums.store_file,
        step=lambda name: faults.point(f"store.{name}"),
    )


def _decode_manifest(path: Path) -> Manifest:
    return manifests.decode_manifest(read_companion(path, manifests.LARGEST))


def naming_of(config: Config) -> Naming:
    """The templates of paths, in the scheduling time zone."""
    names = config.storage.file_naming
    zone = ZoneInfo(config.scheduling.timezone)
    return Naming(config.storage.local.structure, names.pattern, names.datetime_format, zone)


def priority_of(config: Config) -> Priority:
    """What dump tools and clients may take of cores and disks."""
    return Priority(config.limits.nice, config.limits.io_priority)


def tools_of(spawner: Spawner, config: Config) -> ToolFinder:
    """The search for tools, with the folders and programs that the configuration names."""
    roles = {"dump": ToolRole.DUMP, "client": ToolRole.CLIENT, "binlog": ToolRole.BINLOG}
    programs = {
        path: role
        for section in (config.tools.mysql, config.tools.mariadb)
        for key, role in roles.items()
        if (path := getattr(section, key)) is not None
    }
    return ToolFinder(spawner, ToolSearch(tuple(config.tools.postgresql.search), programs))


def refuse_unchangeable(old: Config, new: Config) -> None:
    """Raise ConfigError when a reload would change what only a start can change."""
    fixed: dict[str, Callable[[Config], object]] = {
        "application.state_dir": lambda config: config.application.state_dir,
        "application.hostname": lambda config: config.application.hostname,
        "storage.local.base_path": lambda config: config.storage.local.base_path,
        "storage.local.temp_path": lambda config: config.storage.local.temp_path,
        "storage.checksums.enabled": lambda config: config.storage.checksums.enabled,
        "storage.checksums.store_file": lambda config: config.storage.checksums.store_file,
        "storage.idrive.enabled": lambda config: config.storage.idrive.enabled,
        "storage.idrive.sync_folder": lambda config: config.storage.idrive.sync_folder,
        "control.socket_path": lambda config: config.control.socket_path,
        "catalog.url": lambda config: config.catalog.url,
        "storage.file_naming.pattern": lambda config: config.storage.file_naming.pattern,
        "monitoring.prometheus.enabled": lambda config: config.monitoring.prometheus.enabled,
        "monitoring.health_check": lambda config: config.monitoring.health_check,
    }
    changed = [key for key, value in fixed.items() if value(old) != value(new)]
    if changed:
        raise ConfigError(
            f"only a restart can change {', '.join(changed)}", hint="Restart the daemon, or undo the change."
        )


def configure_log(settings: Settings) -> None:
    """Log as configured."""
    logging = settings.config.logging
    configure_logging(LogSettings(logging.level, logging.format, logging.output, logging.file_path))
