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
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import structlog

from vya_backupd import __version__, faults
from vya_backupd.api.access import Access
from vya_backupd.api.control import MAX_CONNECTIONS, control_app
from vya_backupd.api.entrance import Entrance
from vya_backupd.api.listen import Site as HttpSite
from vya_backupd.api.listen import bind_tcp, bind_unix, open_to
from vya_backupd.api.public import MAX_CONNECTIONS as MAX_PUBLIC_CONNECTIONS
from vya_backupd.api.public import public_app
from vya_backupd.api.refusals import Refusals
from vya_backupd.api.route import Panel
from vya_backupd.checks import Checks
from vya_backupd.config.concealing import conceal
from vya_backupd.config.environment import keys_in
from vya_backupd.daemon import footprint
from vya_backupd.daemon.lifecycle import Lifecycle, Phase, harden
from vya_backupd.daemon.lock import StateLock
from vya_backupd.daemon.neighbours import warn_of_open_folders
from vya_backupd.daemon.notify import Notifier
from vya_backupd.daemon.part import Part
from vya_backupd.daemon.queue import OperationQueue
from vya_backupd.daemon.reloads import Reloads
from vya_backupd.errors import VyaError
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind
from vya_backupd.observe.log import log_event, try_log_again
from vya_backupd.observe.metrics import Metrics
from vya_backupd.operations.backup import BackupHandler
from vya_backupd.operations.prune import PruneHandler
from vya_backupd.operations.rebuild import RebuildHandler, rebuild
from vya_backupd.operations.recording import record_late
from vya_backupd.operations.restore import RestoreHandler
from vya_backupd.operations.stock import settle_cut_short, settle_stock
from vya_backupd.operations.verify import VerifyHandler
from vya_backupd.operations.work import Handler
from vya_backupd.service import DaemonService
from vya_backupd.unattended import House, furnish
from vya_backupd.wiring import (
    build_site,
    configure_log,
    naming_of,
    priority_of,
    read_settings,
    refuse_unchangeable,
    tools_of,
    utc_now,
)

_log = structlog.get_logger("vya.app")

_SERVING = frozenset({Phase.STARTING, Phase.RUNNING})
_REST_SECONDS = 1.0
"""After an operation, until the daemon counts as being at rest."""
_SETTLE_SECONDS = 5.0
"""How long the parts of a daemon that stops may take: the next start goes on with what is left."""
_SETTLE_SECONDS_STANDALONE = 60.0
"""And those of a client that worked by itself: the next start may be a day away."""
_CONCURRENT_OPERATIONS = 16
"""Operations that run side by side; dumps are bounded by ``backup.workers``, and instances by their own order."""


class App:
    """One running product. ``control_socket`` overrides the configured one; ``public`` False opens no TCP port."""

    def __init__(self, config_path: Path, *, control_socket: Path | None = None, public: bool = True) -> None:
        self._config_path = config_path
        self._control_socket = control_socket
        self._public = public
        self.settings = read_settings(config_path)
        self.reloads = Reloads(utc_now())
        self._closing = contextlib.AsyncExitStack()
        self.started = threading.Event()

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
                parts = [group.create_task(part.run(), name=part.name) for part in self.parts]
                lifecycle.ready("running")
                footprint.settle()
                self._loop.call_later(footprint.STANDING_SECONDS + _REST_SECONDS, self._rest)
                # What starting made stays to the end: the garbage collector need not look at it again.
                gc.freeze()
                gc.enable()
                self.started.set()
                clean = await lifecycle.run(self.queue)
                await self._settle_parts()
                for part in parts:
                    part.cancel()
                if not clean:
                    queue.cancel()
        return clean

    async def _open(self, closing: contextlib.AsyncExitStack) -> Lifecycle:
        self._loop = asyncio.get_running_loop()
        config = self.settings.config
        closing.enter_context(StateLock(config.application.state_dir))
        faults.point("start.locked")
        self.site = await build_site(self.settings, closing)
        faults.point("start.opened")
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
            OperationKind.PRUNE: PruneHandler(self.site),
        }
        self.queue = OperationQueue(
            self.site.catalog.operations,
            handlers,
            concurrency=_CONCURRENT_OPERATIONS,
            now=utc_now,
            engine_of=self._engine_of,
        )
        self.service = DaemonService(self.site, self.queue, restores, self.lifecycle, self.metrics)
        self.metrics.live = self.service.live_values()
        self.site.submit = self._submit
        self._furnish()
        if self._public and config.monitoring.health_check.enabled:
            await self._open_public(closing)
        await self._settle_the_past()
        await self._open_control(closing)
        return self.lifecycle

    def _furnish(self) -> None:
        """Make what lives beside the queue, and what the control socket shows of it."""
        self.checks = Checks(self.site, self.service, lambda: self.lifecycle.phase in _SERVING, self._rest)
        self.checks.further += [lambda: record_late(self.site), self.queue.record_late_ends, try_log_again]
        house = House(
            self.site,
            self.queue,
            self.service,
            self.metrics,
            self.lifecycle,
            self.reloads,
            standalone=not self._public,
        )
        parts, panels = furnish(house)
        self.parts: list[Part] = [self.checks, *parts]
        self.panels: list[Panel] = list(panels)

    async def _settle_parts(self) -> None:
        """Let every part end what should not wait for the next start, within a deadline for all of them."""
        seconds = _SETTLE_SECONDS if self._public else _SETTLE_SECONDS_STANDALONE
        try:
            async with asyncio.timeout(seconds):
                ends = await asyncio.gather(*(part.settle() for part in self.parts), return_exceptions=True)
        except TimeoutError:
            _log.warning("daemon.parts_unsettled", deadline_seconds=seconds)
            return
        for part, end in zip(self.parts, ends, strict=True):
            if isinstance(end, Exception):  # a defect in one of them must not cut the others short
                _log.error("daemon.part_failed_to_settle", part=part.name, exc_info=end)

    async def _submit(self, kind: OperationKind, request: dict[str, Any]) -> None:
        await self.queue.submit(kind, request, "daemon")

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
        path = self._socket_path
        local = self.settings.config.storage.local
        warn_of_open_folders((path, local.base_path, self.settings.config.application.state_dir))
        entrance = Entrance(path, lambda: bind_unix(path, *self.access.of_socket), self._control_site)
        await entrance.open()
        closing.push_async_callback(entrance.close)
        self.checks.further.append(entrance.check)
        _log.info("control.listening", path=str(path))

    @property
    def _socket_path(self) -> Path:
        return self._control_socket or self.settings.config.control.socket_path

    def _control_site(self, sock: socket.socket) -> HttpSite:
        refusals = Refusals(self.site.catalog.record, utc_now)
        return HttpSite(
            control_app(self.service, self.access, self.panels, refusals), sock, max_connections=MAX_CONNECTIONS
        )

    async def _settle_the_past(self) -> None:
        """Close what a dead predecessor left running, and bring the index to what the store holds."""
        catalog = self.site.catalog
        catalog.events.subscribe(log_event)
        await settle_cut_short(self.site)
        await self.queue.recover()
        faults.point("start.recovered")
        if catalog.needs_rebuild:
            found = await rebuild(self.site, "daemon")
            if catalog.moved_aside or found["backups"]:  # a first start finds nothing and has lost nothing
                _log.warning("catalog.rebuilt", moved_aside=str(catalog.moved_aside or ""), backups=found["backups"])
        else:
            await settle_stock(self.site)
        faults.point("start.settled")
        catalog.events.subscribe(self.metrics.observe)
        catalog.events.subscribe(self._rest_after)
        catalog.events.subscribe(self.checks.observe)
        await self.metrics.fill(catalog, utc_now(), self.settings.instances)

    def _rest_after(self, event: Event) -> None:
        """Give memory back when the last operation has ended."""
        if event.name == "operation.finished":
            self._loop.call_later(_REST_SECONDS, self._rest)

    def _rest(self) -> None:
        if not self.queue.running:
            footprint.settle()

    async def reload(self) -> None:
        """Read configuration and credentials anew and put them into force as one; either way it is an event.

        Raises:
            ConfigError: they have mistakes, or change what only a restart can change; the old ones stay.
        """
        try:
            await self._reload()
        except Exception as error:
            await self._record_reload(self.reloads.was_refused(utc_now(), error))
            raise
        await self._record_reload(self.reloads.went_well(utc_now()))

    async def _record_reload(self, event: Event) -> None:
        with contextlib.suppress(VyaError):  # a catalog that is down does not undo a reload
            await self.site.catalog.record(event)

    async def _reload(self) -> None:
        settings = await asyncio.to_thread(read_settings, self._config_path)
        refuse_unchangeable(self.settings.config, settings.config)
        configure_log(settings)
        self.settings = self.site.settings = settings
        self.site.tools = tools_of(self.site.spawner, settings.config)
        self.site.naming = naming_of(settings.config)
        self.site.dumps = asyncio.Semaphore(settings.config.backup.workers)
        if kept := self.site.spawner.change_priority(priority_of(settings.config)):
            _log.warning("priority.kept", children=kept, reason="the kernel lets nobody take back what was given away")
        self.access.change(settings.config.control.operators, settings.config.control.viewers)
        with contextlib.suppress(OSError):  # where the file is gone, it is soon made anew, for the same groups
            open_to(self._socket_path, *self.access.of_socket)
        self.lifecycle.stop_deadline = settings.config.application.stop_deadline.total_seconds()
        self.checks.soon()

    def finish(self, reason: str) -> None:
        """Ask for the stop once nothing runs or waits, or at once when the stop deadline is 0. From another thread."""

        async def idle_then_stop() -> None:
            while self.lifecycle.stop_deadline and (self.queue.running or self.queue.waiting):
                await self.queue.drain(self.lifecycle.stop_deadline)
                await asyncio.sleep(0.01)  # what waits is started by the queue's own task
            self.lifecycle.request_stop(reason)

        asyncio.run_coroutine_threadsafe(idle_then_stop(), self._loop)


def run_daemon(config_path: Path) -> int:
    """The daemon, from start to stop. Returns the process's exit code."""
    harden()
    footprint.share_heaps()
    faults.arm(os.environ.get("VYA_FAULTS", ""))
    try:
        app = App(config_path)
        conceal(keys_in(os.environ))
        configure_log(app.settings)
        return 0 if asyncio.run(app.run()) else 1
    except VyaError as error:
        sys.stderr.write(f"vya-backupd: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return error.exit_code
