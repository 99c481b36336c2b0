"""The benchmark's database: the same rows at every call, on every server, of any size.

Five tables, as in a shop that is not well kept: padded numbers (as pgbench makes them), incompressible bytes, customers
with mixed types, events with JSON and short text, and articles of running text. Rows are written as a tab-separated
file for each table, once, and loaded by the server itself: COPY for PostgreSQL, LOAD DATA for the others.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path

from vya_backupd.testing.servers import PrivateServer

DATABASE = "bench"
_LETTERS = "etaoinshrdlucmfwypvbgk"
_KINDS = ("view", "click", "basket", "order", "refund", "login", "search")


def _words(chance: random.Random, stock: int) -> tuple[list[str], list[float]]:
    """Made-up words, and weights that make them as unevenly frequent as real ones."""
    words = ["".join(chance.choices(_LETTERS, k=chance.randint(2, 10))) for _ in range(stock)]
    return words, list(accumulate(1 / rank for rank in range(1, stock + 1)))


def _moment(chance: random.Random) -> str:
    day = f"2026-{chance.randint(1, 9):02}-{chance.randint(1, 28):02}"
    return f"{day} {chance.randint(0, 23):02}:{chance.randint(0, 59):02}:{chance.randint(0, 59):02}"


def accounts() -> Iterator[str]:
    """Numbers, and a filler of blanks."""
    chance = random.Random(1)
    filler = "-" + " " * 83
    for i in count(1):
        yield f"{i}\t{i // 100_000 + 1}\t{chance.randint(-5000, 5000)}\t{filler}\n"


def blobs() -> Iterator[str]:
    """Files: what images and archives look like to a compressor."""
    chance = random.Random(2)
    for i in count(1):
        body = chance.randbytes(chance.randint(400, 6000))
        yield f"{i}\tfile-{i:07}.jpg\t{len(body)}\t{body.hex()}\n"


def customers() -> Iterator[str]:
    """People: names, addresses, money, dates, keys, empty fields."""
    chance = random.Random(3)
    words, weights = _words(chance, 8000)
    for i in count(1):
        first, last, street, town = chance.choices(words, cum_weights=weights, k=4)
        note = " ".join(chance.choices(words, cum_weights=weights, k=chance.randint(0, 12))) or "\\N"
        yield (
            f"{i}\t{first.title()} {last.title()}\t{first}.{last}{i % 977}@example.com\t{chance.getrandbits(128):032x}\t"
            f"{street.title()} {chance.randint(1, 200)}, {town.title()}\t{chance.randint(-99_999, 999_999) / 100:.2f}\t"
            f"{_moment(chance)}\t{i % 2}\t{note}\n"
        )


def events() -> Iterator[str]:
    """What customers did: numbers, times, a JSON document, a line of text."""
    chance = random.Random(4)
    words, weights = _words(chance, 8000)
    for i in count(1):
        one, two, three = chance.choices(words, cum_weights=weights, k=3)
        payload = {
            "path": f"/{one}/{two}/{chance.randint(1, 99_999)}",
            "session": f"{chance.getrandbits(96):024x}",
            "tags": [two, three],
            "score": round(chance.random(), 6),
            "mobile": chance.random() < 0.4,
        }
        text = " ".join(chance.choices(words, cum_weights=weights, k=7))
        yield (
            f"{i}\t{chance.randint(1, 300_000)}\t{chance.choice(_KINDS)}\t{_moment(chance)}\t"
            f"{chance.randint(1, 99_999) / 100:.2f}\t{json.dumps(payload)}\t{text}\n"
        )


def texts() -> Iterator[str]:
    """Running text."""
    chance = random.Random(5)
    words, weights = _words(chance, 20_000)
    for i in count(1):
        title, *body = chance.choices(words, cum_weights=weights, k=chance.randint(60, 400))
        yield f"{i}\t{title.title()}\t{' '.join(body)}.\n"


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its share of the dump, its rows, its columns on PostgreSQL and on the others, and its keys."""

    name: str
    share: float
    rows: Callable[[], Iterator[str]]
    postgresql: str
    mysql: str
    keys: tuple[str, ...] = ()

    def write(self, folder: Path, size: int) -> Path:
        """The file of rows that make about ``size`` bytes; an existing one of that size is taken as it is."""
        path = folder / f"{self.name}-{size}.tsv"
        if path.exists():
            return path
        partial, written = path.with_suffix(".partial"), 0
        with partial.open("w", encoding="utf-8") as file:
            for row in self.rows():
                file.write(row)
                written += len(row)
                if written >= size:
                    break
        partial.chmod(0o644)
        return partial.rename(path)


TABLES = (
    Table(
        "blobs",
        0.22,
        blobs,
        "id int PRIMARY KEY, name text, size int, body bytea",
        "id int PRIMARY KEY, name varchar(100), size int, body mediumblob",
    ),
    Table(
        "customers",
        0.10,
        customers,
        "id int PRIMARY KEY, name text, email text, token uuid, address text, balance numeric(12,2), "
        "since timestamp, active boolean, note text",
        "id int PRIMARY KEY, name varchar(100), email varchar(100), token char(32), address varchar(200), "
        "balance decimal(12,2), since datetime, active tinyint, note text",
        ("email",),
    ),
    Table(
        "events",
        0.40,
        events,
        "id bigint PRIMARY KEY, customer int, kind text, at timestamp, amount numeric(10,2), payload jsonb, line text",
        "id bigint PRIMARY KEY, customer int, kind varchar(10), at datetime, amount decimal(10,2), payload json, "
        "line text",
        ("customer",),
    ),
    Table(
        "pgbench_accounts",
        0.20,
        accounts,
        "aid int PRIMARY KEY, bid int, balance int, filler char(84)",
        "aid int PRIMARY KEY, bid int, balance int, filler char(84)",
    ),
    Table(
        "texts", 0.08, texts, "id int PRIMARY KEY, title text, body text", "id int PRIMARY KEY, title text, body text"
    ),
)


def write_rows(folder: Path, megabytes: int, tables: Sequence[Table] = TABLES) -> dict[str, Path]:
    """The files of all tables, for a dump of about that size."""
    return {table.name: table.write(folder, int(table.share * megabytes * 1_000_000)) for table in tables}


def load(
    server: PrivateServer, files: dict[str, Path], database: str = DATABASE, tables: Sequence[Table] = TABLES
) -> None:
    """Create the database and fill it. The files must be readable for the server's own account."""
    server.drop_database(database)
    server.create_database(database)
    load_one = _load_postgresql if server.kind == "postgresql" else _load_mysql
    for table in tables:
        load_one(server, database, table, files)
    analyze = "VACUUM ANALYZE" if server.kind == "postgresql" else "ANALYZE TABLE " + ", ".join(t.name for t in tables)
    server.sql(analyze, database)


def _load_postgresql(server: PrivateServer, database: str, table: Table, files: dict[str, Path]) -> None:
    server.sql(f"CREATE TABLE {table.name} ({table.postgresql})", database)
    path = files[table.name]
    if table.name == "blobs":
        server.sql("ALTER TABLE blobs ALTER body TYPE text USING NULL", database)
    server.sql(f"COPY {table.name} FROM '{path}'", database)
    if table.name == "blobs":
        server.sql("ALTER TABLE blobs ALTER body TYPE bytea USING decode(body, 'hex')", database)
    for key in table.keys:
        server.sql(f"CREATE INDEX ON {table.name} ({key})", database)


def _load_mysql(server: PrivateServer, database: str, table: Table, files: dict[str, Path]) -> None:
    server.sql(f"CREATE TABLE {table.name} ({table.mysql}) CHARACTER SET utf8mb4", database)
    columns = "(id, name, size, @body) SET body = UNHEX(@body)" if table.name == "blobs" else ""
    server.sql(
        f"LOAD DATA INFILE '{files[table.name]}' INTO TABLE {table.name} CHARACTER SET utf8mb4 {columns}", database
    )
    for key in table.keys:
        server.sql(f"ALTER TABLE {table.name} ADD KEY ({key})", database)
