"""The run itself: samples, causes, restores, and a line of JSON for each of them."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.endurance.bank import Bank
from tests.endurance.causes import Hand
from tests.endurance.installation import Installation
from tests.endurance.sampling import descendants, sample
from tests.waiting import PATIENCE
from vya_backupd.errors import ServerError

_FINAL = {"succeeded", "partial", "failed", "cancelled", "interrupted"}
_LISTED = 200
_TOLD = {"backup", "restore"}
"""Kinds of operations whose success is mailed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """For how long, how often to look, how often something is done to it: seconds all."""

    seconds: float
    look_every: float = 5.0
    cause_every: float = 240.0
    grace: float = 45.0


class Endurance:
    """One run, written to a log that others may follow."""

    def __init__(self, where: Installation, terms: Terms, log: Path, seed: int = 1) -> None:
        self._where = where
        self._terms = terms
        self._log = log.open("a")
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._ended: dict[str, dict[str, Any]] = {}
        self._restored: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self.hand = Hand(where.product, where.servers, where.mail, where.http, where.clock, self._now, terms.grace)

    def run(self) -> None:
        """Endure, then settle and look at what is left. What is wrong stands in the log, never in an exception."""
        before = self._where.databases()
        process = self._where.product.process
        self._write("begun", seconds=self._terms.seconds, pid=process.pid, clock=time.time())
        workers = [threading.Thread(target=each, daemon=True) for each in (self._restore_all, self._do_things)]
        for worker in workers:
            worker.start()
        while not self._is_over():
            if process.poll() is not None:
                self._write("died", code=process.returncode)
                break
            self._look()
            time.sleep(self._terms.look_every)
        self._stop.set()
        for worker in workers:
            worker.join()
        self._write("left", wrong=self._settled(before) if process.poll() is None else ["no daemon"])
        told = {"mailed": self._where.mailed.total(), "hooked": self._where.hooked.total()}
        kinds = sorted({str(each["kind"]) for each in self._ended.values()})
        counts = {kind: sum(each["kind"] == kind for each in self._ended.values()) for kind in kinds}
        self._write("ended", operations=counts, restored=len(self._restored), **told)
        self._log.close()

    def _is_over(self) -> bool:
        """Whether the time has passed. A short run on a busy machine goes on until each bank was restored once."""
        if self._now() < self._terms.seconds:
            return False
        return len(self._newest) == len(self._where.banks) or self._now() > self._terms.seconds + PATIENCE

    # looking

    def _look(self) -> None:
        try:
            self._write("sample", **asdict(sample(self._where.product, self._now())))
            self._poll()
            self._where.hear()
        except (OSError, ValueError, KeyError) as error:
            self._write("failure", what="a look", wrong=repr(error), since=self._now())

    def _poll(self) -> None:
        """Notice every operation that has ended."""
        for each in self._where.control.ask("GET", f"/v1/operations?limit={_LISTED}")["operations"]:
            if each["state"] not in _FINAL or each["id"] in self._ended:
                continue
            self._ended[each["id"]] = each
            if each["state"] != "succeeded":
                self._failed(each)

    def _failed(self, operation: dict[str, Any]) -> None:
        record = self._where.control.ask("GET", f"/v1/operations/{operation['id']}")
        errors = [operation["error"], *(step["error"] for step in record["steps"])]
        said = [f"{each['code']}: {each['message']}" for each in errors if each]
        what = f"{operation['kind']} {operation['id']} of {operation['submitted_by']} {operation['state']}"
        since = self._now() - self._terms.look_every - _seconds_of(operation)
        self._write("failure", what=what, wrong="; ".join(said) or operation["state"], since=round(since, 1))

    # doing

    def _do_things(self) -> None:
        while not self._stop.wait(self._terms.cause_every * self._random.uniform(0.8, 1.2)):
            if self._now() + self._terms.grace / 2 > self._terms.seconds:
                return
            began = self._now()
            try:
                cause = self.hand.next()
                self._write("cause", name=cause.name, began=cause.began, until=cause.until)
            except ServerError as error:
                self._write("failure", what="a cause", wrong=str(error), since=began)

    # restoring

    def _restore_all(self) -> None:
        """Restore every backup of a bank once, oldest first, and compare."""
        while not self._stop.wait(1.0):
            began = self._now()
            try:
                for backup in self._unseen():
                    if self._stop.is_set():
                        return
                    began = self._now()
                    self._restore(backup)
            except (OSError, ServerError, KeyError, AssertionError) as error:
                self._write("restore", what="restoring", wrong=repr(error), since=began)

    def _unseen(self) -> list[dict[str, Any]]:
        listed = self._where.control.ask("GET", "/v1/backups?limit=1000")["backups"]
        ours = [each for each in listed if each["type"] == "full" and each["id"] not in self._restored]
        return sorted(ours, key=lambda each: str(each["taken_at"]))

    def _restore(self, backup: dict[str, Any]) -> None:
        name = str(backup["instance"])
        bank, copy = self._where.banks[name], f"copy_of_{self._where.banks[name].name}"
        request = {"backup_id": backup["id"], "target_instance": name, "target_database": copy}
        since = self._now()
        answer = self._where.control.ask("POST", "/v1/operations", {"kind": "restore", "request": request})
        if "operation" not in answer:
            gone = answer["error"]["code"] == "backup_not_found"
            self._restored[backup["id"]] = -1
            self._write("restore", what=f"restore of {backup['id']}", wrong="" if gone else str(answer), since=since)
            return
        ended = self._where.control.finished(answer["operation"]["id"])["operation"]
        self._restored[backup["id"]] = -1
        if ended["state"] == "succeeded":
            self._compare(name, bank, copy, backup["id"], since)
        bank.server.drop_database(copy)

    def _compare(self, name: str, bank: Bank, copy: str, backup: str, since: float) -> None:
        turns, wrong = bank.check(copy)
        self._restored[backup] = turns
        if turns < self._newest.get(name, 0):
            wrong += f" {turns} transfers, fewer than {self._newest[name]} in the backup before"
        if turns > bank.turns():
            wrong += f" {turns} transfers, more than there were"
        self._newest[name] = max(turns, self._newest.get(name, 0))
        self._write("restore", what=f"{name} {backup}", wrong=wrong, turns=turns, since=since, compared=True)

    # the end

    def _settled(self, before: dict[str, list[str]]) -> list[str]:
        """Pause the schedules, wait until nothing runs or waits, and tell what is left that should not be."""
        control, product = self._where.control, self._where.product
        control.ask("POST", "/v1/schedule/pause", {})
        calm = time.monotonic() + PATIENCE
        while (active := self._active()) and time.monotonic() < calm:
            time.sleep(0.1)
        self._poll()
        self._where.hear()
        wrong = [f"not at its end: {each}" for each in active]
        wrong += [f"database {extra}" for extra in _more(before, self._where.databases())]
        wrong += [f"child {pid}" for pid in descendants(product.process.pid)]
        wrong += [f"file {path}" for path in product.temp_path.rglob("*") if path.is_file() and path.suffix != ".probe"]
        wrong += [f"secret {path}" for path in (product.state_dir / "run").iterdir()]
        wrong += [f"not told by webhook: {each}" for each in self._ended if not self._where.hooked[each]]
        wrong += [f"not mailed: {each}" for each in self._to_mail() if not self._where.mailed[each]]
        audit = product.ctl("audit", "verify")
        if audit.code:
            wrong.append(f"audit: {audit.err}{audit.out}")
        return wrong

    def _active(self) -> list[str]:
        """Operations that run or wait, and messages that wait."""
        self._where.hear()
        # Asked once for all: between two questions one may begin, or follow another.
        listed = self._where.control.ask("GET", f"/v1/operations?limit={_LISTED}")["operations"]
        found = [f"{each['kind']} {each['id']} {each['state']}" for each in listed if each["state"] not in _FINAL]
        metrics = self._where.product.get("/metrics")[1].splitlines()
        waiting = [line for line in metrics if line.startswith("vya_notifications_waiting{")]
        return found + [line for line in waiting if float(line.split()[-1])]

    def _to_mail(self) -> list[str]:
        return [key for key, each in self._ended.items() if each["kind"] in _TOLD and each["state"] == "succeeded"]

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _write(self, kind: str, **record: Any) -> None:
        with self._lock:
            self._log.write(json.dumps({"type": kind, "at": round(self._now(), 1)} | record) + "\n")
            self._log.flush()


def _seconds_of(operation: dict[str, Any]) -> float:
    """How long it took at most; the clock may have leapt meanwhile, which is more than any operation takes."""
    if not operation["started_at"] or not operation["finished_at"]:
        return 0.0
    began, ended = (datetime.fromisoformat(operation[key]) for key in ("submitted_at", "finished_at"))
    return min((ended - began).total_seconds(), 300.0)


def _more(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    return [f"{label}: {name}" for label, names in after.items() for name in names if name not in before[label]]
