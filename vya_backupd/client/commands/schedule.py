"""``schedule``: when backups run by themselves, and stopping that for a while."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vya_backupd.client import shown
from vya_backupd.client.command import command
from vya_backupd.client.session import Session

Instance = Annotated[str | None, typer.Option("--instance", "-i", metavar="ID", help="Only this instance.")]


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    group = typer.Typer(rich_markup_mode=None)
    app.add_typer(group, name="schedule", help="Show, pause and resume schedules.")
    command(group, "list", examples=("vyactl schedule list",), exits=(4,))(list_schedules)
    command(
        group,
        "pause",
        examples=(
            'vyactl schedule pause --instance prod-pg --until "2026-01-10 06:00" --note "new disks"',
            "vyactl schedule pause",
        ),
        exits=(4,),
    )(pause)
    command(
        group, "resume", examples=("vyactl schedule resume --instance prod-pg", "vyactl schedule resume"), exits=(4,)
    )(resume)


def list_schedules(session: Session) -> int:
    """List the schedule of each instance: when it ran last and how that ended, and when it runs next.

    Times are local to the schedule's own time zone. A schedule is on, paused, or off: then an outside timer runs the
    backups, or nobody does. What is due in a blackout waits for its end.
    """
    with session.daemon() as client:
        record = client.get("/v1/schedule")
    _show(session, record)
    return 0


def pause(
    session: Session,
    instance: Instance = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="T", help="When it resumes by itself, in the configured time zone or as said."),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for the others.")] = "",
) -> int:
    """Pause the schedule of an instance, or of all.

    What runs goes on, and backups by hand go on working. Slots that lie in the pause are left out for good, and each is
    said in the log. The pause survives restarts. A pause of all and one of an instance are two: both must have ended.
    """
    with session.daemon() as client:
        record = client.post("/v1/schedule/pause", {"instance": instance, "until": until, "note": note})
    _show(session, record)
    return 0


def resume(session: Session, instance: Instance = None) -> int:
    """Resume the schedule of an instance; without one, end the pause of all.

    It goes on with the next slot. An instance that was paused by itself stays paused when all others resume.
    """
    with session.daemon() as client:
        record = client.post("/v1/schedule/resume", {"instance": instance})
    _show(session, record)
    if not record["resumed"]:
        session.screen.say(f"{instance or 'the whole schedule'} was not paused")
    still = [each["instance"] for each in record["schedules"] if each["paused"]]
    if still:
        session.screen.say(f"still paused: {', '.join(map(shown.plain, still))}")
    return 0


def _show(session: Session, record: dict[str, Any]) -> None:
    if session.screen.is_json:
        session.screen.json(record)
        return
    rows = [
        (
            each["instance"],
            each["schedule"],
            each["timezone"],
            _clock(each["last"]["slot"] if each["last"] else None),
            _end(each["last"]),
            _next(each),
        )
        for each in record["schedules"]
    ]
    session.screen.table(("INSTANCE", "SCHEDULE", "ZONE", "LAST SLOT", "STATE", "NEXT"), rows)
    if not rows:
        session.screen.say("no instance is configured")
    if everything := record["paused"]:
        session.screen.say(f"all schedules are {_pause(everything)}")


def _clock(text: str | None) -> str:
    """A local time with its offset, to the second."""
    return shown.plain(text and text.replace("T", " "))


def _end(last: dict[str, Any] | None) -> str:
    if last is None:
        return "-"
    words = str(last["state"])
    if last["whole"] and words != "succeeded":
        words += ", all backups there"
    return words if last["attempt"] == 1 else f"{words} (attempt {last['attempt']})"


def _next(record: dict[str, Any]) -> str:
    if record["state"] == "off":
        return f"off: {record['reason']}"
    if record["paused"]:
        return _pause(record["paused"])
    blackout = record.get("blackout")
    return _clock(record["next_start"]) + (f" (blackout until {_clock(blackout['until'])})" if blackout else "")


def _pause(pause: dict[str, Any]) -> str:
    until = f" until {_clock(pause['until'])}" if pause["until"] else ""
    note = f": {pause['note']}" if pause["note"] else ""
    return f"paused by {pause['by']}{until}{note}"
