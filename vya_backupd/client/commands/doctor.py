"""``doctor``: everything looked at that could keep backups from being made."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vya_backupd.client import shown
from vya_backupd.client.command import command
from vya_backupd.client.screen import Screen
from vya_backupd.client.session import Session
from vya_backupd.client.transport import PATIENT_SECONDS

Finding = dict[str, Any]

_HOUSE = "this installation"
_ORDER = {"fail": 0, "warn": 1, "ok": 2}
_WORDS = {"fail": "FAIL", "warn": "warn", "ok": "ok"}
_SHOWN = 5
"""Findings of one kind at one server that are listed; ``--all`` lists every one."""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(
        app,
        "doctor",
        examples=("vyactl doctor", "vyactl doctor --instance prod-pg --all", "vyactl -o json doctor"),
        exits=(4, 6, 78),
        standalone=True,
    )(doctor)


def doctor(
    session: Session,
    instance: Annotated[
        str | None, typer.Option("--instance", "-i", metavar="ID", help="Only this server, nothing else.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is as it should be, and every single finding.")
    ] = False,
) -> int:
    """Look at everything that could keep backups from being made, or restores from going well.

    Programs and servers, rights and settings, disk and its days to come, credentials, clock, mail, schedules. Where an
    account lacks rights, the SQL that gives them stands at the end, ready for an administrator of that server; it names
    accounts in full. Nothing is changed anywhere.

    Exit code 0 when nothing failed; warnings are allowed. Exit code 1 when something did.
    """
    with session.daemon() as client:
        record = client.get("/v1/doctor", {"instance": instance}, timeout=PATIENT_SECONDS)
    if session.screen.is_json:
        session.screen.json(record)
    else:
        show(session.screen, record, everything=everything)
    return 1 if record["counts"]["fail"] else 0


def show(screen: Screen, record: dict[str, Any], *, everything: bool = False) -> None:
    """The findings by server, the worst first; then the SQL; then the count."""
    groups: dict[str, list[Finding]] = {}
    for finding in record["findings"]:
        groups.setdefault(finding.get("instance") or _HOUSE, []).append(finding)
    for name in sorted(groups, key=lambda each: (_worst(groups[each]), each != _HOUSE)):
        screen.answer(shown.plain(name))
        for line in _group(groups[name], everything=everything):
            screen.answer(f"  {line}")
    _statements(screen, record["findings"])
    counts = record["counts"]
    screen.answer(
        f"\n{shown.count(counts['fail'], 'failure')}, {shown.count(counts['warn'], 'warning')}, "
        f"{counts['ok']} as it should be"
    )


def _worst(findings: list[Finding]) -> int:
    return min(_ORDER[each["level"]] for each in findings)


def _group(findings: list[Finding], *, everything: bool) -> list[str]:
    lines: list[str] = []
    kinds: dict[tuple[int, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((_ORDER[finding["level"]], finding["check"]), []).append(finding)
    for (level, check), found in sorted(kinds.items(), key=lambda item: item[0][0]):
        if level == _ORDER["ok"] and not everything:
            continue
        listed = found if everything else found[:_SHOWN]
        for finding in listed:
            lines += _lines(finding)
        if len(found) > len(listed):
            lines.append(f"      and {len(found) - len(listed)} more of {check}: see --all")
    fine = sum(each["level"] == "ok" for each in findings)
    if fine and not everything:
        lines.append(f"ok    {shown.count(fine, 'check')} without anything to say")
    return lines


def _lines(finding: Finding) -> list[str]:
    where = f"{shown.plain(finding['database'])}: " if finding.get("database") else ""
    first, *more = shown.paragraphs(finding["message"]).splitlines() or [""]
    lines = [f"{_WORDS[finding['level']]:<4}  {finding['check']}: {where}{first}", *(f"      {line}" for line in more)]
    if finding.get("hint") and finding["level"] != "ok":
        lines += [f"      {line}" for line in shown.paragraphs(finding["hint"]).splitlines()]
    return lines


def _statements(screen: Screen, findings: list[Finding]) -> None:
    """The SQL of each server, every statement once, in a form that can be copied as it is."""
    servers: dict[str, dict[str, list[str]]] = {}
    for finding in findings:
        place = _where(finding)
        for statement in finding.get("sql") or ():
            said = servers.setdefault(str(finding.get("instance")), {})
            if not any(statement in statements for statements in said.values()):
                said.setdefault(place, []).append(statement)
    for name, places in servers.items():
        screen.answer(f"\n-- SQL for an administrator of {shown.plain(name)}")
        for place, statements in places.items():
            if place:
                screen.answer(f"-- in the database {shown.plain(place)}")
            for statement in statements:
                screen.answer(shown.plain(statement))


def _where(finding: Finding) -> str:
    """The database to be connected to, where a statement only works there."""
    inside = any(" SCHEMA " in statement for statement in finding.get("sql") or ())
    return str(finding.get("database") or "") if inside else ""
