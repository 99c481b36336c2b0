"""The composition root: from a configuration file to a running product, and down again in the opposite order.

Start, each step undone by the stop: log, state lock, store, catalog, what a crash left behind, sites, queue. Nothing
answers on the control socket before the past is settled; the public site answers from the beginning and says "not
ready".
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from vya_backupd import __version__, faults
from vya_backupd.api.access import Access
from vya_backupd.api.control import MAX_CONNECTIONS, control_app
from vya_backupd.api.listen import Site as HttpSite
from vya_backupd.api.listen import bind_tcp, bind_unix
from vya_backupd.api.public import MAX_CONNECTIONS as MAX_PUBLIC_CONNECTIONS
from vya_backupd.api.public import public_app
from vya_backupd.catalog import Catalog
from vya_backupd.config.credentials import load_instances
from vya_backupd.config.load import load
from vya_backupd.config.schema import Config
from vya_backupd.daemon import footprint
from vya_backupd.daemon.lifecycle import Lifecycle, harden
from vya_backupd.daemon.lock import StateLock
from vya_backupd.daemon.notify import Notifier
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.dumpfile import manifest as manifests
from vya_backupd.engines.tools import ToolRole
from vya_backupd.errors import BusyError, ConfigError, VyaError
from vya_backupd.model.backup import Manifest
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind
from vya_backupd.observe.counting import counts_of
from vya_backupd.observe.log import LogSettings, configure_logging, log_event
from vya_backupd.observe.metrics import Metrics
from vya_backupd.observe.redaction import register_secret
from vya_backupd.operations.backup import BackupHandler
from vya_backupd.operations.rebuild import RebuildHandler, rebuild, reconcile
from vya_backupd.operations.restore import RestoreHandler
from vya_backupd.operations.site import Settings, Site
from vya_backupd.operations.verify import VerifyHandler
from vya_backupd.operations.work import Handler
from vya_backupd.pipeline.pool import new_pool
from vya_backupd.policy.naming import Naming
from vya_backupd.probe import Probe
from vya_backupd.process import Spawner, ToolFinder, ToolSearch
from vya_backupd.service import DaemonService
from vya_backupd.storage import LocalStore, ManifestCodec

_log = structlog.get_logger("vya.app")

_STORAGE_CODES = frozenset({"disk_full", "storage_unwritable", "storage_failed", "storage_layout"})
"""Failures of a step that say something of the whole store."""
CHECK_SECONDS = 30.0
"""How often catalog, store and servers are asked whether they are well."""
_REST_SECONDS = 1.0
"""After an operation, until the daemon counts as being at rest."""
_CONCURRENT_OPERATIONS = 16
"""Operations that run side by side; dumps are bounded by ``backup.workers``, and instances by their own order."""


class App:
    """One running product. ``control_socket`` overrides the configured one; ``public`` False opens no TCP port."""

    def __init__(self, config_path: Path, *, control_socket: Path | None = None, public: bool = True) -> None:
        self._config_path = config_path
        self._control_socket = control_socket
        self._public = public
        self.settings = _settings(config_path)
        self._closing = contextlib.AsyncExitStack()
        self.started = threading.Event()
        self._check_wanted = asyncio.Event()

    async def run(self, *, signals: bool = True) -> bool:
        """Live until told to stop. Returns whether everything ended in good order.

        Raises:
            VyaError: the start failed; nothing is left open.
        """
        async with self._closing as closing:
            lifecycle = await self._open(closing)
            if signals:
                closing.enter_context(lifecycle.signals())
            async with asyncio.TaskGroup() as group:
                queue = group.create_task(self.queue.run(), name="queue")
                checks = group.create_task(self._check_forever(), name="checks")
                lifecycle.ready("running")
                footprint.settle()
                # What starting made stays to the end: the garbage collector need not look at it again.
                gc.freeze()
                gc.enable()
                self.started.set()
                clean = await lifecycle.run(self.queue)
                checks.cancel()
                if not clean:
                    queue.cancel()
        return clean

    async def _open(self, closing: contextlib.AsyncExitStack) -> Lifecycle:
        self._loop = asyncio.get_running_loop()
        config = self.settings.config
        closing.enter_context(StateLock(config.application.state_dir))
        self.site = await _site(self.settings, closing)
        self.lifecycle = Lifecycle(
            reload=self.reload,
            notifier=Notifier(os.environ),
            stop_deadline=config.application.stop_deadline.total_seconds(),
        )
        self.metrics = Metrics(__version__)
        restores = RestoreHandler(self.site)
        handlers: dict[OperationKind, Handler] = {
            OperationKind.BACKUP: BackupHandler(self.site),
            OperationKind.RESTORE: restores,
            OperationKind.VERIFY: VerifyHandler(self.site),
            OperationKind.REBUILD: RebuildHandler(self.site),
        }
        self.queue = OperationQueue(
            self.site.catalog.operations,
            handlers,
            concurrency=_CONCURRENT_OPERATIONS,
            now=_now,
            engine_of=self._engine_of,
        )
        self.service = DaemonService(self.site, self.queue, restores, self.lifecycle, self.metrics)
        self.metrics.live = self.service.live_values()
        self.site.submit = self._submit
        if self._public and config.monitoring.health_check.enabled:
            await self._open_public(closing)
        await self._settle_the_past()
        await self._open_control(closing)
        return self.lifecycle

    async def _submit(self, kind: OperationKind, request: dict[str, Any]) -> None:
        """Queue what one operation asks of another. A daemon that stops takes nothing: that is no failure of the asker."""
        try:
            await self.queue.submit(kind, request, "daemon")
        except BusyError as error:
            _log.warning("operation.not_queued", kind=str(kind), reason=error.message)

    def _engine_of(self, instance_id: str) -> str:
        instance = self.site.settings.instances.get(instance_id)
        return str(instance.kind) if instance else "unknown"

    async def _open_public(self, closing: contextlib.AsyncExitStack) -> None:
        health = self.settings.config.monitoring.health_check
        app = public_app(
            self.service, path=health.path, with_metrics=self.settings.config.monitoring.prometheus.enabled
        )
        sock = bind_tcp(health.host, health.port)
        site = HttpSite(app, sock, max_connections=MAX_PUBLIC_CONNECTIONS)
        await site.start()
        closing.push_async_callback(site.stop)
        _log.info("public.listening", host=health.host, port=sock.getsockname()[1])

    async def _open_control(self, closing: contextlib.AsyncExitStack) -> None:
        control = self.settings.config.control
        self.access = Access(control.operators, control.viewers)
        path = self._control_socket or control.socket_path
        operators, viewers = self.access.operator_gids, self.access.viewer_gids
        sock = bind_unix(path, group=next(iter(operators), None), more_groups=tuple(operators[1:] + viewers))
        closing.callback(path.unlink, missing_ok=True)
        site = HttpSite(control_app(self.service, self.access), sock, max_connections=MAX_CONNECTIONS)
        await site.start()
        closing.push_async_callback(site.stop)
        _log.info("control.listening", path=str(path))

    async def _settle_the_past(self) -> None:
        """Close what a dead predecessor left running, and bring the index to what the store holds."""
        catalog = self.site.catalog
        await self.queue.recover()
        if catalog.needs_rebuild:
            found = await rebuild(self.site, "daemon")
            _log.warning("catalog.rebuilt", moved_aside=str(catalog.moved_aside or ""), backups=found["backups"])
        elif changed := await reconcile(self.site):
            _log.warning("catalog.reconciled", **changed)
        catalog.events.subscribe(log_event)
        catalog.events.subscribe(self.metrics.observe)
        catalog.events.subscribe(self._rest_after)
        catalog.events.subscribe(self._check_after)
        await self.metrics.fill(catalog)

    def _rest_after(self, event: Event) -> None:
        """Give memory back when the last operation has ended."""
        if event.name == "operation.finished":
            self._loop.call_later(_REST_SECONDS, self._rest)

    def _rest(self) -> None:
        if not self.queue.running:
            footprint.settle()

    async def reload(self) -> None:
        """Read configuration and credentials anew and put them into force as one.

        Raises:
            ConfigError: they have mistakes, or change what only a restart can change; the old ones stay.
        """
        settings = await asyncio.to_thread(_settings, self._config_path)
        _refuse_unchangeable(self.settings.config, settings.config)
        _configure_log(settings)
        self.settings = self.site.settings = settings
        self.site.tools = _tools(self.site.spawner, settings.config)
        self.site.naming = _naming(settings.config)
        self.site.dumps = asyncio.Semaphore(settings.config.backup.workers)
        self.access.change(settings.config.control.operators, settings.config.control.viewers)
        self.lifecycle.stop_deadline = settings.config.application.stop_deadline.total_seconds()
        self._check_wanted.set()

    def finish(self, reason: str) -> None:
        """Ask for the stop once nothing runs or waits, or at once when the stop deadline is 0. From another thread."""

        async def idle_then_stop() -> None:
            while self.lifecycle.stop_deadline and (self.queue.running or self.queue.waiting):
                await self.queue.drain(self.lifecycle.stop_deadline)
                await asyncio.sleep(0.01)  # what waits is started by the queue's own task
            self.lifecycle.request_stop(reason)

        asyncio.run_coroutine_threadsafe(idle_then_stop(), self._loop)

    async def _check_forever(self) -> None:
        while True:
            troubles = []
            for check in (self.site.catalog.check(), asyncio.to_thread(self.site.store.check)):
                try:
                    await check
                except VyaError as error:
                    troubles.append(f"{error.code}: {error.message}")
            self.service.troubles = tuple(troubles)
            await self.service.refresh()
            self._rest()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._check_wanted.wait()
            self._check_wanted.clear()

    def _check_after(self, event: Event) -> None:
        """Look at once where a step fared otherwise than the last check would have it."""
        if event.name == "step.finished":
            failed = event.data.get("error_code") in _STORAGE_CODES
            if failed or self.service.troubles:
                self._check_wanted.set()


def _now() -> datetime:
    return datetime.now(UTC)


def _settings(config_path: Path) -> Settings:
    config = load(config_path)
    return Settings(config, {instance.id: instance for instance in load_instances(config)})


async def _site(settings: Settings, closing: contextlib.AsyncExitStack) -> Site:
    """Store, catalog and everything that works on them, in the order in which they are opened."""
    config = settings.config
    local, checksums = config.storage.local, config.storage.checksums
    codec = ManifestCodec(manifests.encode_manifest, manifests.decode_manifest, manifests.checksum_line)
    store = LocalStore(
        local.base_path,
        codec,
        temp_path=local.temp_path,
        data_suffix=".gz",
        checksum_files=checksums.enabled and checksums.store_file,
        step=lambda name: faults.point(f"store.{name}"),
    )
    await asyncio.to_thread(store.prepare)
    spawner = Spawner(config.application.state_dir / "run")
    spawner.sweep()
    pool = new_pool()
    closing.callback(pool.shutdown, wait=False, cancel_futures=True)
    catalog = Catalog(config.catalog_url().reveal(), counting=counts_of)
    await catalog.open()
    closing.push_async_callback(catalog.close)
    return Site(
        settings=settings,
        store=store,
        catalog=catalog,
        spawner=spawner,
        tools=_tools(spawner, config),
        probe=Probe(),
        pool=pool,
        naming=_naming(config),
        dumps=asyncio.Semaphore(config.backup.workers),
        now=_now,
        decode_manifest=_decode_manifest,
    )


def _decode_manifest(path: Path) -> Manifest:
    return manifests.decode_manifest(path.read_bytes())


def _naming(config: Config) -> Naming:
    names = config.storage.file_naming
    zone = ZoneInfo(config.scheduling.timezone)
    return Naming(config.storage.local.structure, names.pattern, names.datetime_format, zone)


def _tools(spawner: Spawner, config: Config) -> ToolFinder:
    roles = {"dump": ToolRole.DUMP, "client": ToolRole.CLIENT, "binlog": ToolRole.BINLOG}
    programs = {
        path: role
        for section in (config.tools.mysql, config.tools.mariadb)
        for key, role in roles.items()
        if (path := getattr(section, key)) is not None
    }
    return ToolFinder(spawner, ToolSearch(tuple(config.tools.postgresql.search), programs))


def _refuse_unchangeable(old: Config, new: Config) -> None:
    fixed: dict[str, Callable[[Config], object]] = {
        "application.state_dir": lambda config: config.application.state_dir,
        "application.hostname": lambda config: config.application.hostname,
        "storage.local.base_path": lambda config: config.storage.local.base_path,
        "storage.local.temp_path": lambda config: config.storage.local.temp_path,
        "control.socket_path": lambda config: config.control.socket_path,
        "catalog.url": lambda config: config.catalog_url().reveal(),
        "monitoring.health_check": lambda config: config.monitoring.health_check,
    }
    changed = [key for key, value in fixed.items() if value(old) != value(new)]
    if changed:
        raise ConfigError(
            f"only a restart can change {', '.join(changed)}", hint="Restart the daemon, or undo the change."
        )


def _configure_log(settings: Settings) -> None:
    logging = settings.config.logging
    for instance in settings.instances.values():
        if instance.password:
            register_secret(instance.password.reveal())
    configure_logging(LogSettings(logging.level, logging.format, logging.output, logging.file_path))


def run_daemon(config_path: Path) -> int:
    """The daemon, from start to stop. Returns the process's exit code."""
    harden()
    footprint.limit_arenas()
    faults.arm(os.environ.get("VYA_FAULTS", ""))
    try:
        app = App(config_path)
        _configure_log(app.settings)
        return 0 if asyncio.run(app.run()) else 1
    except VyaError as error:
        sys.stderr.write(f"vya-backupd: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return error.exit_code


@contextlib.contextmanager
def standalone(config_path: Path) -> Iterator[Path]:
    """The same product inside this process, on a private control socket, for as long as the block lasts.

    Leaving the block normally waits for running work; leaving it by an exception ends that work at once.

    Raises:
        VyaError: as the daemon's start.
    """
    harden()
    faults.arm(os.environ.get("VYA_FAULTS", ""))
    with tempfile.TemporaryDirectory(prefix="vya-") as folder:
        path = Path(folder) / "control.sock"
        app = App(config_path, control_socket=path, public=False)
        _configure_log(app.settings)
        with _in_thread(app):
            yield path


@contextlib.contextmanager
def _in_thread(app: App) -> Iterator[None]:
    failures: list[BaseException] = []

    def live() -> None:
        try:
            asyncio.run(app.run(signals=False))
        except BaseException as error:  # noqa: BLE001 - raised in the waiting thread
            failures.append(error)
        finally:
            app.started.set()

    thread = threading.Thread(target=live, name="standalone")
    thread.start()
    app.started.wait()
    try:
        if not failures:
            yield
    except BaseException:
        app.lifecycle.stop_deadline = 0
        raise
    finally:
        if thread.is_alive():
            app.finish("the standalone run is over")
        thread.join()
    if failures:
        raise failures[0]
