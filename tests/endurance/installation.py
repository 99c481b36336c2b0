"""What endures: an installation with banks on real servers, peers that hear of everything, and a clock that leaps."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.killing import Control
from tests.endurance.bank import Bank
from tests.observe.peers import HttpPeer, MailPeer
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

_RETENTION = (
    {"strategy": "simple", "daily_keep": 8},
    {"strategy": "gfs", "daily_keep": 3, "weekly_keep": 2, "monthly_keep": 2, "minimum_keep": 6},
)
_OPERATION = re.compile(r"operations show (\S+)")


@dataclass
class Installation:
    """Everything together. ``banks`` by the instance that backs them up."""

    product: Product
    control: Control
    banks: dict[str, Bank]
    servers: list[PrivateServer]
    mail: MailPeer
    http: HttpPeer
    clock: Path
    mailed: Counter[str]
    hooked: Counter[str]

    def hear(self) -> None:
        """Count what the peers were told by operation, and let them forget it."""
        mails, self.mail.mails[:] = list(self.mail.mails), []
        self.mail.commands.clear()
        for each in mails:
            self.mailed.update(set(_OPERATION.findall(each.part("plain"))))
        requests, self.http.requests[:] = list(self.http.requests), []
        for request in requests:
            if request.path == "/hook":
                self.hooked.update([str(json.loads(request.body)["operation"]["id"])])

    def databases(self) -> dict[str, list[str]]:
        """What there is on each server, by its label."""
        return {server.spec.label: _databases(server) for server in self.servers}


def _databases(server: PrivateServer) -> list[str]:
    query = "SELECT datname FROM pg_database" if server.kind == "postgresql" else "SHOW DATABASES"
    return sorted(row[0] for row in server.sql(query))


@contextmanager
def installed(root: Path, servers: list[PrivateServer], banks: int, pace: float) -> Iterator[Installation]:
    """Make and start it: ``banks`` on each server, each an instance with a schedule of its own."""
    root.mkdir(parents=True, exist_ok=True)
    clock = root / "clock"
    clock.write_text("0")
    found: dict[str, Bank] = {}
    entries: list[dict[str, Any]] = []
    for server in servers:
        for number in range(banks):
            bank = Bank(server, f"bank_{number}", pace)
            bank.server.drop_database(bank.name)
            bank.open()
            name = f"{server.spec.label}-{number}"
            found[name] = bank
            own = {"database": [bank.name], "retention": _RETENTION[number % len(_RETENTION)]}
            entries.append(instance(server, name, **own))
    with ExitStack() as stack:
        mail, http = stack.enter_context(MailPeer()), stack.enter_context(HttpPeer())
        product = Product(
            root / "site",
            entries,
            servers=servers,
            config=_config(mail, http),
            environ={"VYA_CLOCK_OFFSET_FILE": str(clock)},
        )
        for bank in found.values():
            stack.enter_context(bank)
        stack.enter_context(product)
        yield Installation(
            product, Control(product), found, servers, mail, http, clock, mailed=Counter(), hooked=Counter()
        )
    for bank in found.values():
        bank.server.drop_database(bank.name)


def _config(mail: MailPeer, http: HttpPeer) -> dict[str, Any]:
    """Everything on: verification after each backup, retention, history that is forgotten, all who are told."""
    return {
        "backup": {
            "verify_integrity": True,
            "attempts": 3,
            "retry_wait": "1s",
            "parallel_per_database": 1,
            "parallel_piece_size": 1 << 19,
            "max_age": "10d",
        },
        "storage": {"retention": {"cleanup_enabled": True}},
        "scheduling": {"enabled": True, "interval_minutes": 1, "jitter": "45s"},
        "catalog": {"history": {"keep_operations": 60}},
        "notifications": {
            "retry_wait": "1s",
            "give_up_after": "60d",  # a leap of the clock makes every message old
            "email": {
                "enabled": True,
                "smtp_host": "127.0.0.1",
                "smtp_port": mail.port,
                "use_tls": False,
                "from_address": "backup@example.com",
                "success_recipients": ["glad@example.com"],
                "error_recipients": ["ops@example.com"],
                "digest_window": "20s",
            },
            "webhooks": [{"url": http.url("/hook"), "secret": "s"}],
            "ping": {"success_url": http.url("/well/{instance}"), "failure_url": http.url("/badly/{instance}")},
        },
    }
