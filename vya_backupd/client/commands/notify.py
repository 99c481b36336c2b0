"""``notify``: do mails, webhooks and pings arrive?"""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from vya_backupd.client import shown
from vya_backupd.client.command import command
from vya_backupd.client.session import Session
from vya_backupd.client.transport import PATIENT_SECONDS
from vya_backupd.errors import VyaError


class Channel(enum.StrEnum):
    """A way to tell people."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    PING = "ping"


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    group = typer.Typer(rich_markup_mode=None)
    app.add_typer(group, name="notify", help="Mails, webhooks and pings.")
    command(
        group,
        "test",
        examples=("vyactl notify test", "vyactl notify test --channel email --recipient me@example.com"),
        exits=(3,),
    )(try_out)


def try_out(
    session: Session,
    channel: Annotated[Channel | None, typer.Option("--channel", help="Only this one. [default: all]")] = None,
    recipient: Annotated[
        str | None,
        typer.Option("--recipient", metavar="ADDRESS", help="Mail this address only, whoever is configured."),
    ] = None,
) -> int:
    """Let the daemon tell everybody something now, and show what the other side answered.

    Mails go to all recipients, for success and for failure; webhooks get an event of their own; of the two pings it is
    the one for success. Nothing is queued and nothing is tried again. Exit code 3 when some failed, 1 when all did.
    """
    body = {"channel": channel.value if channel else None, "recipient": recipient}
    with session.daemon() as client:
        found = client.post("/v1/notify/test", body, timeout=PATIENT_SECONDS)["notifications"]
    if session.screen.is_json:
        session.screen.json({"notifications": found})
    else:
        rows = [
            (item["channel"], item["target"], "ok" if item["ok"] else "FAILED", item["answer"] or "-") for item in found
        ]
        session.screen.table(("CHANNEL", "TARGET", "RESULT", "ANSWER"), rows)
    for item in found:
        if not item["ok"]:
            error = VyaError.from_json(item["error"])
            session.screen.say(f"error: {shown.plain(item['target'])}: {shown.paragraphs(error.message)}")
            session.screen.say(f"hint:  {shown.paragraphs(error.hint)}")
    failed = sum(not item["ok"] for item in found)
    return 0 if not failed else 3 if failed < len(found) else 1
