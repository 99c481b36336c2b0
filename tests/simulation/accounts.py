"""What must be so after a while, reckoned from the outside: from the wall, the record, the mail box, and the disk."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from tests.observe.peers import Taken
from tests.policy.histories import keeps
from vya_backupd.catalog import Catalog
from vya_backupd.catalog.schedules import slot_of
from vya_backupd.config.schema_notifications import Email
from vya_backupd.model.backup import Outline
from vya_backupd.model.event import Event
from vya_backupd.model.operation import Operation, OperationKind, State
from vya_backupd.observe.metrics import Metrics
from vya_backupd.operations.site import Settings
from vya_backupd.policy.retention import Rules, Terms

LEFT_OUT = ("slot.missed", "slot.coalesced", "slot.skipped")
"""Events that count slots which nobody ran."""

Place = tuple[str, str]


async def all_events(catalog: Catalog) -> list[Event]:
    """Everything on record, oldest first."""
    found, last = list[Event](), 0
    while page := await catalog.events.after(last):
        found += [each.event for each in page]
        last = page[-1].id
    return found


async def all_operations(catalog: Catalog) -> list[Operation]:
    """Everything on record."""
    return await catalog.operations.list(limit=100_000)


# slots


def refuse_lost_slots(instance: str, wanted: Sequence[datetime], ran: set[datetime], events: Sequence[Event]) -> None:
    """Each slot ran, or was counted by an event that says why not; and no slot both, nor twice.

    An event's count is of the slots up to the one that it names; but that one itself is not among them when it ran.
    """
    told: Counter[datetime] = Counter(ran)
    for event in events:
        if event.name not in LEFT_OUT or event.instance != instance:
            continue
        slot = datetime.fromisoformat(event.data["slot"])
        end = bisect_left(wanted, slot) + (slot not in ran)
        told.update(wanted[max(0, end - event.data["count"]) : end])
    assert told == Counter(wanted), {
        "lost": [f"{instance}@{each}" for each in wanted if not told[each]],
        "twice": [f"{instance}@{each}" for each, number in told.items() if number > 1],
        "strange": [f"{instance}@{each}" for each in told if each not in set(wanted)],
    }


def refuse_open_ends(
    wanted: Sequence[datetime], operations: Sequence[Operation], events: Sequence[Event], starts: Sequence[datetime]
) -> None:
    """The last attempt of a slot has a verdict; or it is said to be given up; or it was interrupted, and overtaken.

    Overtaken: when the daemon came back (``starts``), the next slot was due already.
    """
    last = {each.key: each for each in sorted(operations, key=lambda each: each.attempt)}
    given_up = {(each.instance, each.data["slot"]) for each in events if each.name == "slot.given_up"}
    for key, operation in last.items():
        if operation.state is State.INTERRUPTED:
            instance, slot = (key or "").partition("@")[0], slot_of(key or "")
            ended = operation.finished_at or slot
            back = next(each for each in starts if each >= ended)
            overtaken = any(slot < each <= back for each in wanted)
            assert overtaken or (instance, slot.isoformat()) in given_up, operation


# mails


def wanted_mails(operations: Sequence[Operation], events: Sequence[Event], email: Email) -> Counter[Place]:
    """Who is to have a mail of what: the ends of operations by their ids, and alerts by name and place."""
    told: Counter[Place] = Counter()
    for each in operations:
        if each.state is not State.SUCCEEDED:
            told[("error", each.id)] += 1
        elif each.kind in {OperationKind.BACKUP, OperationKind.RESTORE}:
            told[("success", each.id)] += 1
    for event in events:
        if event.name in email.events:
            place = "/".join(filter(None, (event.instance, event.database)))
            told[("error", event.name + (f": {place}" if place else ""))] += 1
    return told


def mails_in(box: Sequence[Taken], email: Email, site: str) -> Counter[Place]:
    """The same, of what has arrived."""
    roles = {email.success_recipients: "success", email.error_recipients: "error"}
    told: Counter[Place] = Counter()
    for mail in box:
        _, is_of_operation, rest = mail.part("plain").partition("vyactl operations show ")
        about = rest.split()[0] if is_of_operation else mail.subject.removeprefix(f"[{site}] ")
        told[(roles[tuple(mail.recipients)], about)] += 1
    return told


# retention


def refuse_wrong_store(
    folder: Path, listed: set[str], made: Sequence[Outline], settings: Settings, now: datetime
) -> None:
    """Store and catalog hold exactly what the rules keep of everything that was ever made, whenever they were applied."""
    config = settings.config
    data = {str(path.relative_to(folder)) for path in folder.rglob("*.sql.gz")}
    described = {str(path.relative_to(folder)) for path in folder.rglob("*.metadata.json")}
    assert {f"{path}.metadata.json" for path in data} == described
    kept: set[str] = set()
    for instance in {each.instance for each in made}:
        terms = Terms(now, ZoneInfo(config.scheduling.timezone), config.application.hostname, _rules_of(settings))
        kept |= keeps([each for each in made if each.instance == instance], terms)
    assert listed == kept
    assert len(data) == len(kept)
    newest = {
        (each.instance, each.database): each.id for each in sorted(made, key=lambda each: (each.taken_at, each.id))
    }
    assert set(newest.values()) <= kept


def _rules_of(settings: Settings) -> Callable[[str], Rules]:
    def rules_of(instance: str) -> Rules:
        own = settings.retention(instance)
        return Rules(own.strategy, own.daily_keep, own.weekly_keep, own.monthly_keep, own.minimum_keep)

    return rules_of


# metrics


def counters(metrics: Metrics) -> dict[tuple[str, str], float]:
    """All that must never fall."""
    grows = {"counter", "histogram", "summary"}
    found: list[Metric] = [each for each in metrics.collect() if each.type in grows]
    samples: list[Sample] = [sample for family in found for sample in family.samples]
    return {(each.name, str(sorted(each.labels.items()))): each.value for each in samples}


def refuse_fallen(before: dict[tuple[str, str], float], after: dict[tuple[str, str], float]) -> None:
    """No counter fell, and none is gone."""
    assert {key: value for key, value in before.items() if after.get(key, -1) < value} == {}


def executions(metrics: Metrics) -> Counter[Place]:
    """Backup operations by instance and status, as metrics count them."""
    samples = [sample for family in metrics.collect() for sample in family.samples]
    return Counter(
        {
            (each.labels["database_id"], each.labels["status"]): int(each.value)
            for each in samples
            if each.name == "vya_backup_executions_total"
        }
    )


def shown(metrics: Metrics) -> list[str]:
    """The lines that tell of the catalog, and not of this process."""
    body, _ = metrics.render()
    lines = body.decode().splitlines()
    return [line for line in lines if not line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("process_")]
