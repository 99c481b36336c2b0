"""Whoever tells the world of events, with a catalog, a configuration and a clock, and the world that listens."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.catalog.samples import NIGHT, operation
from tests.observe.peers import HttpPeer, MailPeer
from vya_backupd.catalog import Catalog
from vya_backupd.config.load import load
from vya_backupd.daemon.facts import finished_facts
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind, State, Step
from vya_backupd.observe.notify import Notices
from vya_backupd.observe.notify_carrier import Means

MINUTE = timedelta(minutes=1)
BAD = {"code": "connection_refused", "message": "nobody listens", "hint": "start it"}


class House:
    """A catalog, a configuration and a clock that only moves when it is moved; and whoever tells the world of them."""

    def __init__(self, folder: Path, catalog: Catalog, mail: MailPeer, http: HttpPeer) -> None:
        self.folder = folder
        self.catalog = catalog
        self.mail = mail
        self.http = http
        self.now = NIGHT
        self._numbers = iter(range(1000))
        self.configure()
        self.notices = self.start()

    def configure(self, *, email: dict[str, Any] | None = None, **keys: Any) -> None:
        mails = {
            "enabled": True,
            "smtp_host": "127.0.0.1",
            "smtp_port": self.mail.port,
            "use_tls": False,
            "from_address": "backup@example.com",
            "success_recipients": ["glad@example.com"],
            "error_recipients": ["ops@example.com", "db@example.com"],
        }
        settings = {
            "application": {"environment": "dev", "hostname": "site-a"},
            "scheduling": {"timezone": "UTC"},
            "notifications": {"timeout": "20s", "email": mails | (email or {}), **keys},
        }
        path = self.folder / "config.yaml"
        path.write_text(json.dumps(settings))
        self.config = load(path, {})

    def start(self) -> Notices:
        """As a start of the daemon."""
        return Notices(self.catalog, Means(lambda: self.config, lambda: None, lambda: self.now))

    async def tell(self, minutes: float = 0) -> None:
        """Let time pass, and do what the part does by itself: read, and carry what is due."""
        self.now += minutes * MINUTE
        await self.notices.collector.collect()
        for carrier in (self.notices.mail, self.notices.http):
            await self.notices.empty(carrier)

    async def ended(
        self,
        *states: State,
        end: State | None = None,
        kind: OperationKind = OperationKind.BACKUP,
        dry_run: bool = False,
        database: str = "shop",
    ) -> str:
        """An operation with one database for each state, ended; every database of an instance of its own."""
        number = next(self._numbers)
        steps = tuple(
            Step(f"pg-{place}", database, state, None, None if state is State.SUCCEEDED else BAD, {"size_bytes": 4096})
            for place, state in enumerate(states)
        )
        end = end or (states[0] if len(set(states)) == 1 else State.PARTIAL)
        made = operation(f"op{number}", kind=kind, steps=steps, request={"dry_run": dry_run})
        made = replace(made, submitted_at=self.now, submitted_by="anna")
        await self.catalog.operations.submit(made)
        await self.catalog.operations.advance(made.id, State.RUNNING, event=Event("operation.started", self.now))
        facts = finished_facts(made, end, engine_of=lambda _: "postgresql")
        done = Event("operation.finished", self.now, made.id, actor="anna", data=facts)
        await self.catalog.operations.advance(made.id, end, event=done)
        return made.id

    async def events(self, name: str) -> list[dict[str, Any]]:
        return [each.event.data for each in await self.catalog.events.after() if each.event.name == name]

    @property
    def subjects(self) -> list[str]:
        return [each.subject.removeprefix("[site-a] ") for each in self.mail.mails]
