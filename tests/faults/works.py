"""The work that faults meet: each kind of operation, how it is begun, and what it may leave at its target.

A work is *prepared* calmly, then *begun* in a thread of its own, since a daemon that was stopped or killed answers late
or never. ``Run`` is one that was begun. ``target`` says afterwards whether what it wrote to is either as it was or wholly
new; ``tidy`` makes the scene what it was.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.faults.rig import DAILY_KEEP, INSTANCE, NARROW, SESSIONS, VICTIM, WIDE, Bench
from tests.waiting import PATIENCE, until

FRESH = "fresh"
"""The database that a restore makes where none was."""
_EXPIRING = 1
"""Backups that a prepared prune deletes."""
_PUBLISHING = ("store.synced", "store.placed", "store.checksum", "store.manifest")
_DELETING = ("store.tombstone", "store.emptied", "store.deleted")


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work. ``begin`` submits it, and returns the operation's id, or None where it is none.

    ``points``: those that it passes on every engine, and how often at least; ``only``: those of some engines.
    """

    name: str
    begin: Callable[[Bench], str | None]
    points: Mapping[str, int]
    only: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    prepare: Callable[[Bench, Random], None] = lambda _bench, _random: None
    target: Callable[[Bench], bool] | None = None
    """Whether its target is what it was to become; False: it is what it was before. Anything else raises."""
    tidy: Callable[[Bench], None] = lambda _: None
    mend: Callable[[Bench], object] = lambda _: None
    """What an operator would do after a failure: the next run ends what a failed one began."""
    writes: str | None = None
    """The source database that others write to meanwhile."""
    uses_tool: bool = False
    """Whether programs of the vendor work for it."""
    uses_server: bool = False

    def points_on(self, engine: str) -> dict[str, int]:
        """The points that it passes on an engine, and how often at least."""
        return {**self.points, **self.only.get(engine, {})}


class Run:
    """Work that was begun; it goes on by itself."""

    def __init__(self, bench: Bench, work: Work) -> None:
        self.bench = bench
        self.work = work
        self.operation: str | None = None
        self.refused: BaseException | None = None
        """Why the beginning failed, where it did: the daemon died, or said no."""
        self.began = time.monotonic()
        self._thread = threading.Thread(target=self._begin, name=work.name, daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        try:
            self.operation = self.work.begin(self.bench)
        except (OSError, http.client.HTTPException, ValueError, AssertionError, RuntimeError) as error:
            self.refused = error

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or another, or there is no daemon any more that works on it."""
        if self._thread.is_alive():
            return False
        if self.operation is None:
            return True
        return self.bench.is_over(self.operation) or not self.bench.is_up

    def until_over(self, seconds: float = PATIENCE) -> None:
        """Wait for that."""
        until(lambda: self.is_over, seconds, f"{self.work.name} does not end ({self.operation})")


def _backup(*databases: str) -> Callable[[Bench], str]:
    def begin(bench: Bench) -> str:
        everything = len(databases) > 1
        named = {} if everything else {"databases": list(databases)}
        return bench.submit("backup", instances=[INSTANCE], globals=everything, **named)

    return begin


def _to_advance(*databases: str) -> Callable[[Bench, Random], None]:
    def prepare(bench: Bench, _: Random) -> None:
        for database in databases:
            bench.advance(database)

    return prepare


def _restore(source: str, target: str, sessions: int, **more: Any) -> Callable[[Bench], str]:
    def begin(bench: Bench) -> str:
        return bench.submit(
            "restore",
            instance=INSTANCE,
            database=source,
            latest=True,
            target_database=target,
            sessions=sessions,
            **more,
        )

    return begin


_OVER: dict[str, Any] = {"overwrite": True, "confirmed_target": VICTIM, "disconnect": True}


def _new_or_absent(source: str) -> Callable[[Bench], bool]:
    """A restore onto a free name leaves nothing, or all."""

    def look(bench: Bench) -> bool:
        return FRESH in bench.databases() and bench.content(source).generation(FRESH) > 0

    return look


def _new_or_original(source: str) -> Callable[[Bench], bool]:
    """A restore over a database leaves the original untouched, or the new one whole."""

    def look(bench: Bench) -> bool:
        assert VICTIM in bench.databases(), "the database that was to be replaced is gone"
        return not bench.is_original() and bench.content(source).generation(VICTIM) > 0

    return look


def _original_and_bulk(bench: Bench) -> bool:
    """A restore of one table leaves all others as they were, and that one whole or absent."""
    assert bench.is_original(), "tables that were not restored have changed"
    return bench.content(WIDE).has_bulk(VICTIM)


def _drop_fresh(bench: Bench) -> None:
    bench.server.drop_database(FRESH)


def _restore_table(bench: Bench) -> str:
    table = "public.bulk" if bench.kind == "postgresql" else "bulk"
    return _restore(WIDE, VICTIM, SESSIONS, tables=[table])(bench)


def _make_expirable(bench: Bench, _random: Random) -> None:
    """Two backups that retention keeps for nothing but their holds, which then are taken away."""
    while len(found := bench.backups(NARROW)) < DAILY_KEEP + 1 + _EXPIRING:
        for each in found:
            if not each["held"]:
                bench.hold(each["id"])
        bench.advance(NARROW)
        bench.back_up(NARROW)
        bench.settle()
    held = [each for each in bench.backups(NARROW) if each["held"]]
    for each in held[1:]:
        bench.hold(each["id"], wanted=False)


def _hold(bench: Bench) -> None:
    newest = bench.backups(NARROW)[-1]
    bench.hold(newest["id"], wanted=not newest["held"])


def _release_all_but_oldest(bench: Bench) -> None:
    for each in [each for each in bench.backups(NARROW) if each["held"]][1:]:
        bench.hold(each["id"], wanted=False)


def _die_at_work(bench: Bench, random: Random) -> None:
    """Kill the daemon while it publishes or deletes, so that the next start has something to settle."""
    point = random.choice(["backup.dumping", *_PUBLISHING, "backup.recorded", *_DELETING, "prune.noted"])
    bench.advance(NARROW)
    bench.arm(f"{point}=kill")
    with suppress(OSError, http.client.HTTPException, ValueError):
        bench.submit("backup", instances=[INSTANCE], databases=[NARROW], globals=False)
    until(lambda: not bench.is_up or not bench.unfinished(), PATIENCE, f"{point} was never passed")
    if bench.is_up:
        bench.product.kill()


def _start(bench: Bench) -> None:
    with suppress(RuntimeError):  # it died under way, as it was made to
        bench.product.start()


_CATALOG = {"catalog.writing": 5, "catalog.written": 5}
_BACKUP = {"backup.probed": 1, "backup.dumping": 1, "backup.dumped": 1, **dict.fromkeys(_PUBLISHING, 1)} | {
    "backup.recorded": 1,
    **_CATALOG,
}
_RESTORE = {f"restore.{each}": 1 for each in ("verified", "created", "fed", "finished")} | _CATALOG
_SWAP = {"restore.swap_begun": 1, "restore.swap_step": 4, "restore.swapped": 1}
_LENDING = {"mariadb": {"restore.lending": 1}, "mysql": {"restore.lending": 1}}
_HELD = {"mariadb": {"backup.held": 1}, "mysql": {"backup.held": 1}}

WORKS: dict[str, Work] = {
    work.name: work
    for work in (
        Work("backup", _backup(NARROW), _BACKUP, prepare=_to_advance(NARROW), uses_tool=True, uses_server=True),
        Work(
            "parallel backup",
            _backup(WIDE),
            _BACKUP | {"backup.session": 2},
            _HELD,
            prepare=_to_advance(WIDE),
            uses_tool=True,
            uses_server=True,
        ),
        Work(
            "backup under writes",
            _backup(WIDE),
            _BACKUP | {"backup.session": 2},
            _HELD,
            writes=WIDE,
            uses_tool=True,
            uses_server=True,
        ),
        Work(
            "whole instance",
            _backup(NARROW, WIDE),
            _BACKUP | {"backup.globals": 1},
            prepare=_to_advance(NARROW, WIDE),
            uses_tool=True,
            uses_server=True,
        ),
        Work(
            "restore",
            _restore(NARROW, FRESH, 1),
            _RESTORE,
            _LENDING,
            target=_new_or_absent(NARROW),
            tidy=_drop_fresh,
            uses_tool=True,
            uses_server=True,
        ),
        Work(
            "parallel restore",
            _restore(WIDE, VICTIM, SESSIONS, **_OVER),
            _RESTORE | _SWAP | {"restore.lane": 4},
            _LENDING,
            target=_new_or_original(WIDE),
            tidy=Bench.reset_victim,
            uses_tool=True,
            uses_server=True,
        ),
        Work(
            "restore of a table",
            _restore_table,
            {"restore.verified": 1, "restore.fed": 1, **_CATALOG},
            {engine: {**_LENDING[engine], **_SWAP, "restore.swap_step": 1} for engine in _LENDING},
            target=_original_and_bulk,
            tidy=Bench.reset_victim,
            uses_tool=True,
            uses_server=True,
        ),
        Work(
            "verify",
            lambda bench: bench.submit("verify", instance=INSTANCE, all=True),
            {"verify.read": 3, "verify.proven": 3, **_CATALOG},
        ),
        Work(
            "prune",
            lambda bench: bench.submit("prune"),
            {"prune.judged": 1, "prune.noted": 1, **dict.fromkeys(_DELETING, 1), "prune.deleted": 1, **_CATALOG},
            prepare=_make_expirable,
            mend=lambda bench: bench.done("prune"),
            tidy=_release_all_but_oldest,
        ),
        Work("hold", lambda bench: _hold(bench), {"hold.written": 1, "catalog.writing": 1, "catalog.written": 1}),
        Work("rebuild", lambda bench: bench.submit("rebuild"), {"rebuild.read": 1, "rebuild.entered": 1, **_CATALOG}),
        Work(
            "start",
            lambda bench: _start(bench),
            {f"start.{each}": 1 for each in ("locked", "opened", "recovered", "settled")}
            | {"catalog.writing": 2, "catalog.written": 2},
            prepare=_die_at_work,
        ),
    )
}
"""Every kind of work, by name."""

COMMITTED = frozenset({("postgresql", "restore of a table", "restore.fed")})
"""Engine, work and point, where all is committed by then, and nothing behind it can fail."""
