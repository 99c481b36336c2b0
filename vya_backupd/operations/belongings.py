"""What a restore has made on a server for the time being, written down before it is made.

One file for each database that is being restored, in the state folder. It goes when nothing is left to take away; when
the daemon dies first, ``leftovers`` finds it. What is written down need not exist: the daemon may have died in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vya_backupd.durable import sync_folder
from vya_backupd.engines.mysql_definers import Loan
from vya_backupd.storage.failures import reporting

_NAME_LIMIT = 63
"""Bytes in the name of a PostgreSQL database (NAMEDATALEN - 1); MySQL and MariaDB allow 64 characters."""

_FRESH = ".new"
"""Ends the name of a file that is being written."""


@dataclass(frozen=True, slots=True)
class Swapping:
    """An exchange that may have begun: the original may be ``aside``, and ``command``, with ``script``, leads back."""

    aside: str
    script: str
    command: str


@dataclass(frozen=True, slots=True)
class Belongings:
    """All of one restore's.

    ``beside`` are databases whose names nobody else gives. ``unfinished`` is one under the name that was asked for: it is
    ours as long as the table ``marker`` stands in it. ``loans`` are what definers were lent.
    """

    operation: str
    instance: str
    target: str
    beside: tuple[str, ...] = ()
    unfinished: str | None = None
    loans: tuple[Loan, ...] = ()
    swapping: Swapping | None = None

    @property
    def marker(self) -> str:
        """The name of the table that stands in a database until everything is in it (MySQL, MariaDB)."""
        return f"_vya_restoring_{token(self.operation)}"

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take away."""
        return not (self.beside or self.unfinished or self.loans or self.swapping)


class Notebook:
    """The belongings of one restore, and their file. Each change is on disk when its method returns."""

    def __init__(self, state_dir: Path, operation: str, instance: str, target: str) -> None:
        self.now = Belongings(operation, instance, target)
        digest = hashlib.sha256(f"{instance}/{target}".encode()).hexdigest()[:12]
        self.name = f"{operation}-{digest}"
        self._path = folder_of(state_dir) / f"{self.name}.json"

    @property
    def is_exchanging(self) -> bool:
        """Whether an exchange has begun that is neither done nor undone: what stands where, people must decide."""
        return self.now.swapping is not None

    def making(self, database: str) -> None:
        """A database of this name is about to be created."""
        if database == self.now.target:
            self._write(replace(self.now, unfinished=database))
        else:
            self._write(replace(self.now, beside=(*self.now.beside, database)))

    def gone(self, database: str) -> None:
        """There is no such database of ours any more: it was dropped, or bears the name that it was made for."""
        beside = tuple(name for name in self.now.beside if name != database)
        unfinished = None if self.now.unfinished == database else self.now.unfinished
        self._write(replace(self.now, beside=beside, unfinished=unfinished))

    def lending(self, loans: Sequence[Loan]) -> None:
        """These loans are about to be made. How they are made is not written down: there is a password in it."""
        if loans:
            noted = [replace(loan, lend=()) for loan in loans]
            self._write(replace(self.now, loans=(*self.now.loans, *noted)))

    def returned(self, loan: Loan) -> None:
        """It was taken back."""
        self._write(replace(self.now, loans=tuple(each for each in self.now.loans if each != loan)))

    def swapping(self, swapping: Swapping | None) -> None:
        """An exchange is about to begin; or was wholly undone."""
        self._write(replace(self.now, swapping=swapping))

    def exchanged(self, aside: str) -> None:
        """The exchange is wholly done: what stands aside is the former database, and about to be dropped."""
        self._write(replace(self.now, swapping=None, beside=(*self.now.beside, aside)))

    def _write(self, belongings: Belongings) -> None:
        self.now = belongings
        if belongings.is_empty:
            remove(self._path)
        else:
            write_durably(self._path, json.dumps(asdict(belongings)))


def folder_of(state_dir: Path) -> Path:
    """Where the files are."""
    return state_dir / "restores"


def read_all(state_dir: Path) -> list[tuple[Path, Belongings]]:
    """Every file that is there, oldest operation first. A file that cannot be read was never whole: it is left alone."""
    found = []
    for path in sorted(folder_of(state_dir).glob("*.json")):
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            found.append((path, _parsed(json.loads(path.read_text(encoding="utf-8")))))
    return found


def halves(state_dir: Path) -> list[tuple[Path, str]]:
    """Files that never got their names, since the daemon died while it wrote them; and whose operation they were."""
    found = [*folder_of(state_dir).glob(f".*.json{_FRESH}"), *state_dir.glob(f".undo-*.sql{_FRESH}")]
    return [(path, path.name.removeprefix(".").removeprefix("undo-").rpartition("-")[0]) for path in found]


def _parsed(record: dict[str, Any]) -> Belongings:
    loans = tuple(
        Loan(**{**each, "lend": tuple(each["lend"]), "take_back": tuple(each["take_back"])}) for each in record["loans"]
    )
    swapping = Swapping(**record["swapping"]) if record["swapping"] else None
    return Belongings(**{**record, "beside": tuple(record["beside"]), "loans": loans, "swapping": swapping})


def write_durably(path: Path, text: str) -> None:
    """The file with this content, for the owner alone, whole or not at all, on disk when this returns.

    Raises:
        StorageError: the file system refused.
    """
    fresh = path.with_name(f".{path.name}{_FRESH}")
    with reporting("write", path):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(path.parent)


def remove(path: Path) -> None:
    """The file is gone for good when this returns; that it was gone already is no failure. Raises as ``write_durably``."""
    with reporting("remove", path):
        if path.exists():
            path.unlink(missing_ok=True)
            sync_folder(path.parent)


def token(operation: str) -> str:
    """What names of the restore's own have in them."""
    return operation[-6:]


def beside_name(database: str, role: str) -> str:
    """The name of a database that stands beside another for the time of a restore.

    Recognisable, never too long, and with the operation's token in ``role``: nobody's database is called so.
    """
    suffix = f"_vya_{role}"
    whole = database + suffix
    if len(whole.encode()) <= _NAME_LIMIT:
        return whole
    digest = hashlib.sha256(database.encode()).hexdigest()[:8]
    room = _NAME_LIMIT - len(suffix) - len(digest) - 1
    return database.encode()[:room].decode(errors="ignore") + "_" + digest + suffix
