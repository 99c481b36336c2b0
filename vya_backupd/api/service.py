"""What the sites ask of the product. They know nothing else of it; ``operations`` supplies it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Protocol

from vya_backupd.model.operation import OperationKind

Record = dict[str, Any]


class Probes(Protocol):
    """What the public site shows."""

    async def health(self) -> tuple[bool, Record]:
        """Whether every objective is met, and the body that says so."""

    def ready(self) -> tuple[bool, Record]:
        """Whether work can be taken, and the body that says so."""

    def live(self) -> Record:
        """The event loop turns: nothing but that."""

    async def metrics(self, openmetrics: bool) -> tuple[bytes, str]:
        """The metrics and their content type, as OpenMetrics or as Prometheus text."""


class Service(Probes, Protocol):
    """What the control socket offers. Methods raise ``VyaError`` for everything that a caller should know."""

    async def status(self) -> Record:
        """The daemon, its instances, what runs and what ran last."""

    def config(self) -> Record:
        """The configuration in force, without secrets."""

    async def list_databases(self, instance: str | None) -> list[Record]:
        """Databases of the servers: ``instance``, ``database``, ``covered``, ``size_bytes``."""

    async def test_connections(self, instance: str | None) -> list[Record]:
        """One record for each server: ``instance``, ``ok``, ``server``, ``error``."""

    async def submit(self, kind: OperationKind, request: Record, actor: str) -> Record:
        """Queue an operation; its record."""

    async def plan_restore(self, request: Record) -> Record:
        """What a restore would do, without doing it."""

    async def backups(
        self, instance: str | None, database: str | None, limit: int, after: tuple[datetime, str] | None = None
    ) -> list[Record]:
        """Backups, newest first; those that follow the one with this snapshot's time and id."""

    async def newest_backups(self, instance: str | None) -> list[Record]:
        """The newest backup of each database, by instance and name."""

    async def backup(self, backup_id: str) -> Record:
        """One backup with everything known of it."""

    async def hold(self, backup_id: str, note: str, until: datetime | None, actor: str) -> Record:
        """Keep a backup from deletion; its record."""

    async def release(self, backup_id: str, actor: str) -> Record:
        """End a hold; the backup's record."""

    async def delete(self, backup_id: str, actor: str, *, allow_held: bool = False) -> Record:
        """Delete a backup; its last record."""

    async def operations(self, limit: int, state: str | None) -> list[Record]:
        """Operations, newest first."""

    async def operation(self, operation_id: str) -> Record:
        """One operation with its steps, as a result record."""

    async def cancel(self, operation_id: str, actor: str) -> Record:
        """Ask an operation to end; its record."""

    def watch(self, operation_id: str) -> AsyncIterator[Record]:
        """Lines of a watch (``api.wire``), the last of type ``finished``."""
