"""Letters as messages of electronic mail (RFC 5322): subject, headers, the two parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any

from vya_backupd.observe.mail_text import Rendered
from vya_backupd.observe.redaction import redact

_POLICY = SMTP.clone(cte_type="7bit")
"""No server need know how to carry bytes of eight bits."""
_LONGEST_SUBJECT = 200

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Envelope:
    """From whom, to whom, as what. ``to`` are all whom the message names, sent to now or not."""

    sender: str
    to: Sequence[str]
    subject: str
    message_id: str
    date: datetime

    @property
    def sender_address(self) -> str:
        """The bare address of ``sender``."""
        return bare(self.sender)


def bare(address: str) -> str:
    """The address in ``Backups <backup@example.com>``."""
    return parseaddr(address)[1]


def compose(envelope: Envelope, rendered: Rendered) -> EmailMessage:
    """The message. It says that a program wrote it, so that no absence note answers."""
    message = EmailMessage(_POLICY)
    message["From"] = envelope.sender
    message["To"] = ", ".join(envelope.to)
    message["Subject"] = one_line(envelope.subject)
    message["Date"] = format_datetime(envelope.date)
    domain = envelope.sender_address.rpartition("@")[2] or "localhost"
    message["Message-ID"] = f"<{envelope.message_id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(rendered.plain)
    message.add_alternative(rendered.html, subtype="html")
    return message


def subject_of(site: Record, report: Record) -> str:
    """What a list of mails shows: site, what, how it ended, where."""
    operation, counts = report["operation"], report["counts"]
    state = operation["state"]
    where = ", ".join(report["instances"]) or "no instance"
    text = f"{operation['kind']} {state if state == 'succeeded' else state.upper()}: {where}"
    missed = counts["all"] - counts["succeeded"]
    if missed and counts["all"] > 1:
        text += f" ({missed} of {counts['all']} databases)"
    return f"[{site['hostname']}] {text}"


def digest_subject(site: Record, reports: Sequence[Record]) -> str:
    """The same for a digest."""
    instances = {instance for report in reports for instance in report.get("instances", {})}
    instances |= {report["event"]["instance"] for report in reports if "operation" not in report} - {None}
    what = "operations FAILED" if all("operation" in report for report in reports) else "failures and alerts"
    return f"[{site['hostname']}] {len(reports)} {what} on {len(instances)} instances"


def alert_subject(site: Record, event: Record) -> str:
    """The same for an event that is told by itself."""
    place = "/".join(filter(None, (event["instance"], event["database"])))
    return f"[{site['hostname']}] {event['name']}" + (f": {place}" if place else "")


def one_line(text: str) -> str:
    """A text that fits into a header, whatever it was: no secrets, no ends of lines, not endless."""
    shown = "".join(char if char.isprintable() else " " for char in redact(text))
    return shown if len(shown) <= _LONGEST_SUBJECT else shown[: _LONGEST_SUBJECT - 1] + "…"
