"""Whether a failure was told on every channel, and as the same failure: one fact, many tellers.

The channels: the operation's own record (what ``vyactl`` shows), the event in the catalog, the log, the metrics, the
audit, a mail, a webhook. Mails and webhooks come when they come, so those are waited for.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.rig import Bench
from tests.waiting import until

_WELL = "succeeded"
_PATIENCE = 30.0
_FIRST_WORDS = frozenset({"public.listening", "catalog.reconciled"})
"""With which a daemon begins its part of the log."""


@dataclass
class Reader:
    """A file of JSON lines that grows: each look reads what is new."""

    path: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    _at: int = 0

    def read(self) -> list[dict[str, Any]]:
        """Everything so far; half a line at the end waits for the next look."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._at += len(whole)
            self.records += [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        return self.records


@dataclass(frozen=True, slots=True)
class Failure:
    """An operation that did not succeed, as its event tells it."""

    operation: str
    kind: str
    state: str
    codes: set[str]
    at: datetime


def failures(bench: Bench, after: int) -> tuple[int, list[Failure]]:
    """The operations that ended badly, by the events with a number above ``after``; and the highest number."""
    rows = bench.query(
        "SELECT id, at, operation_id, data FROM events WHERE name = 'operation.finished' AND id > ?", after
    )
    found = []
    for _, at, operation, text in rows:
        data = json.loads(text)
        if data["state"] != _WELL:
            found.append(Failure(str(operation), data["kind"], data["state"], _codes(data), _moment(at)))
    return max([after, *(number for number, *_ in rows)]), found


def _moment(microseconds: int) -> datetime:
    """As the catalog writes moments down."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC)


def _codes(data: dict[str, Any]) -> set[str]:
    codes = {str(data["error_code"])} if data.get("error_code") else set()
    for facts in data.get("instances", {}).values():
        codes |= set(facts.get("errors", {}))
    return codes


def told_everywhere(bench: Bench) -> None:
    """Demand that everything that failed since the last look is told on every channel.

    Raises:
        AssertionError: a channel does not have it, or has another code.
    """
    highest, found = failures(bench, bench.notes.get("told", 0))
    for failure in found:
        assert failure.codes, f"{failure} has no code"
        _on_record(bench, failure)
        _in_log(bench, failure)
        _in_audit(bench, failure)
        _in_webhook(bench, failure)
        _in_mail(bench, failure)
    _in_metrics(bench)
    bench.notes["told"] = highest


def _on_record(bench: Bench, failure: Failure) -> None:
    record = bench.control.operation(failure.operation)
    assert record["operation"]["state"] == failure.state, f"{failure}, but its record says {record['operation']}"
    errors = [record["operation"]["error"], *(step["error"] for step in record["steps"] if step["state"] != _WELL)]
    codes = {each["code"] for each in errors if each}
    assert codes == failure.codes, f"{failure}, but its record says {codes}"
    assert all(each["message"] and each["hint"] for each in errors if each), f"{failure}: an error without words"


def _in_log(bench: Bench, failure: Failure) -> None:
    log: Reader = bench.notes.setdefault("log", Reader(bench.product.log_path))

    def said() -> list[dict[str, Any]]:
        named = [each for each in log.read() if each.get("operation") == failure.operation]
        return [each for each in named if each["event"] == "operation.finished"]

    if not said() and _died_saying_it(log.records, failure):
        return
    (line,) = until(said, _PATIENCE, f"{failure} is not in the log")
    assert (line["state"], _codes(line)) == (failure.state, failure.codes), f"{failure}, but the log says {line}"


def _died_saying_it(log: list[dict[str, Any]], failure: Failure) -> bool:
    """Whether the daemon died between the commit and the line: what follows is the next daemon's first word."""
    later = [each for each in log if datetime.fromisoformat(each["timestamp"]) > failure.at]
    return bool(later) and later[0]["event"] in _FIRST_WORDS


def _in_audit(bench: Bench, failure: Failure) -> None:
    audit: Reader = bench.notes.setdefault("audit", Reader(bench.product.state_dir / "audit.log"))

    def entered() -> list[dict[str, Any]]:
        entries = [each.get("entry", each) for each in audit.read()]
        named = [each for each in entries if each.get("operation") == failure.operation]
        return [each for each in named if each["event"] == "operation.finished"]

    (entry,) = until(entered, _PATIENCE, f"{failure} is not in the audit")
    data = {"error_code": entry.get("error_code"), **entry.get("facts", {})}
    assert (entry["result"], _codes(data)) == (failure.state, failure.codes), f"{failure}, the audit has {entry}"


def _in_webhook(bench: Bench, failure: Failure) -> None:
    def came() -> list[dict[str, Any]]:
        bodies = [json.loads(each.body) for each in list(bench.hook.requests)]
        return [each for each in bodies if (each.get("operation") or {}).get("id") == failure.operation]

    first, *_ = until(came, _PATIENCE, f"no webhook told of {failure}")
    codes = {each["error"]["code"] for each in [first["operation"], *first["steps"]] if each.get("error")}
    assert first["operation"]["state"] == failure.state, f"{failure}, but the webhook says {first['operation']}"
    assert codes == failure.codes, f"{failure}, but the webhook says {codes}"


def _in_mail(bench: Bench, failure: Failure) -> None:
    read: list[str] = bench.notes.setdefault("mails", [])

    def came() -> list[str]:
        read.extend(each.part("plain") for each in list(bench.mail.mails)[len(read) :])
        return [text for text in read if failure.operation in text]

    first, *_ = until(came, _PATIENCE, f"no mail told of {failure}")
    missing = {code for code in failure.codes if code not in first}
    assert not missing, f"{failure}, but the mail does not name {missing}"


def _in_metrics(bench: Bench) -> None:
    """The counter of errors is the sum of all events that there ever were."""
    wanted: Counter[str] = Counter()
    for (text,) in bench.query("SELECT data FROM events WHERE name = 'operation.finished'"):
        data = json.loads(text)
        for facts in data.get("instances", {}).values():
            wanted.update(facts.get("errors", {}))
        if not data.get("instances") and data.get("error_code"):
            wanted[data["error_code"]] += 1
    shown: Counter[str] = Counter()
    for line in bench.product.get("/metrics")[1].splitlines():
        if line.startswith("vya_backup_errors_total{"):
            shown[line.partition('error_type="')[2].partition('"')[0]] += int(float(line.split()[-1]))
    assert shown == wanted, f"the metrics count {dict(shown)}, the events {dict(wanted)}"
