"""Who is told of what: from an event and the configuration to letters. No I/O, no clock."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

from vya_backupd.catalog.outbox import Letter
from vya_backupd.config.schema_notifications import Email, Notifications
from vya_backupd.config.secret_ref import SecretRef
from vya_backupd.model.event import Event
from vya_backupd.model.operation import OperationKind, State

EMAIL, WEBHOOK, PING = "email", "webhook", "ping"
SUCCESS, ERROR, DIGEST, ALERT = "success", "error", "digest", "alert"
INSTANCE = "{instance}"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gathering:
    """What the outbox says of failures that were mailed of late: how many, and when an open digest falls due."""

    recent: int = 0
    open_until: datetime | None = None


def wants(event: Event, config: Notifications) -> bool:
    """Whether anybody is to be told of this."""
    return bool(mail_topic(event, config.email) or _pings(event, config) or _hooks(event, config))


def any_wanted(config: Notifications) -> bool:
    """Whether anybody is ever to be told of anything."""
    return config.email.enabled or bool(config.webhooks or config.ping.success_url or config.ping.failure_url)


def mail_topic(event: Event, email: Email) -> str | None:
    """``success``, ``error`` or ``alert`` where the event is mailed, else None. Whatever is no success is an error."""
    if not email.enabled:
        return None
    if event.name == "operation.finished":
        well = event.data.get("state") == State.SUCCEEDED
        if event.data.get("dry_run") or (well and event.data.get("kind") not in email.success_of):
            return None
        topic = SUCCESS if well else ERROR
    elif any(fnmatchcase(event.name, each) for each in email.events) and not _about(event, EMAIL):
        topic = ALERT
    else:
        return None
    return topic if recipients(topic, email) else None


def recipients(topic: str, email: Email) -> tuple[str, ...]:
    """Who gets the mails of a topic, each address once."""
    return tuple(dict.fromkeys(email.success_recipients if topic == SUCCESS else email.error_recipients))


def letters_of(
    event: Event, event_id: int, report: Record, config: Notifications, now: datetime, gathering: Gathering
) -> Iterator[Letter]:
    """The letters that tell of an event; ``report`` is what they tell."""
    if topic := mail_topic(event, config.email):
        body = {"to": list(recipients(topic, config.email)), "message_id": message_id(event_id), "report": report}
        yield _gathered(Letter(EMAIL, topic, body, now), config.email, gathering)
    for url in _hooks(event, config):
        payload = {"delivery": message_id(event_id), **report}
        yield Letter(WEBHOOK, event.name, {"target": fingerprint(url), "payload": payload}, now)
    for url, instance, state in _pings(event, config):
        yield Letter(PING, state, {"target": fingerprint(url), "instance": instance}, now)


def _gathered(letter: Letter, email: Email, gathering: Gathering) -> Letter:
    """The same, or a part of a digest when enough failures were mailed of late."""
    if letter.topic == SUCCESS or gathering.recent < email.digest_after:
        return letter
    return Letter(EMAIL, DIGEST, letter.body, gathering.open_until or letter.due_at + email.digest_window)


def fingerprint(url: SecretRef) -> str:
    """A name for an address that tells nothing of it, and stays as long as the configuration does."""
    text = url.found.reveal() if url.found is not None else f"{url.scheme}:{url.name}"
    return sha256(text.encode()).hexdigest()[:16]


def message_id(event_id: int) -> str:
    """A name for what is told of an event: the same at each attempt, and in no other installation."""
    return f"{event_id}.{secrets.token_hex(8)}"


def _hooks(event: Event, config: Notifications) -> list[SecretRef]:
    if _about(event, WEBHOOK):
        return []
    return [each.url for each in config.webhooks if any(fnmatchcase(event.name, name) for name in each.events)]


def _pings(event: Event, config: Notifications) -> list[tuple[SecretRef, str | None, str]]:
    """The addresses to call, for whom, for which end: once for each instance where they name one."""
    data = event.data
    if event.name != "operation.finished" or data.get("kind") != OperationKind.BACKUP or data.get("dry_run"):
        return []
    found: list[tuple[SecretRef, str | None, str]] = []
    for instance, state in [(None, str(data.get("state"))), *_ends_of_instances(event)]:
        url = config.ping.success_url if state == State.SUCCEEDED else config.ping.failure_url
        if url is not None and (instance is not None) == names_instance(url):
            found.append((url, instance, state))
    return found


def _ends_of_instances(event: Event) -> list[tuple[str, str]]:
    return [(instance, str(each["state"])) for instance, each in event.data.get("instances", {}).items()]


def names_instance(url: SecretRef) -> bool:
    """Whether an address has a place for an instance. One in a file is not opened for this: it has none."""
    return url.found is not None and INSTANCE in url.found.reveal()


def _about(event: Event, channel: str) -> bool:
    """Whether an event tells of the channel itself: telling it there would go round in a circle."""
    return event.name.startswith("notification.") and event.data.get("channel") == channel
