"""A second database for the benchmark: machine-made rows, as most measurements of dump tools use them.

The same four kinds of table as a test database that scripts fill in an evening: 300,000 customers, two million events
with a JSON document and a line of text each, files as incompressible bytes, and pgbench's accounts of scale 20, of a
gigabyte together. Values are drawn evenly from short lists, so rows resemble each other, and the fastest compressor
makes a file within 1.02 of ``gzip -6`` by itself. The database of ``tests.benchmarks.data`` is harder: there it does not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count

from tests.benchmarks.data import Table

_CITIES = ("Curitiba", "Recife", "Porto Alegre", "Campinas", "Manaus", "Belém", "Santos", "Natal", "Vitória", "Goiânia")
_KINDS = ("view", "click", "purchase", "refund", "login", "logout")
_AGENTS = ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (Windows NT 10.0)", "okhttp/4.9", "curl/8.1")
_PAGES = ("/", "/products", "/cart", "/checkout", "/account/orders", "/help")
_WORDS = [
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet",
    "consectetur",
    "adipiscing",
    "elit",
    "sed",
    "do",
    "eiusmod",
    "tempor",
    "incididunt",
    "ut",
    "labore",
]


def accounts() -> Iterator[str]:
    """What ``pgbench -i`` makes."""
    filler = " " * 84
    for i in count(1):
        yield f"{i}\t{(i - 1) // 100_000 + 1}\t0\t{filler}\n"


def customers() -> Iterator[str]:
    """Numbered people."""
    chance = random.Random(11)
    for i in count(1):
        yield (
            f"{i}\tCustomer {i}\tcustomer{i}@example.com\t{chance.choice(_CITIES)}\t"
            f"2026-{chance.randint(1, 9):02}-{chance.randint(1, 28):02} {chance.randint(0, 23):02}:00:00\t"
            f"{chance.randint(0, 9999)}.00\t{i % 2}\t{' '.join(chance.choices(_WORDS, k=4))}\n"
        )


def events() -> Iterator[str]:
    """What they did."""
    chance = random.Random(12)
    for i in count(1):
        a, b, c = chance.randint(1, 300_000), chance.randint(0, 10_000), chance.getrandbits(16)
        yield (
            f"{i}\t{a}\t{_KINDS[c % 6]}\t2026-{c % 9 + 1:02}-{b % 28 + 1:02} {c % 24:02}:{b % 60:02}:{a % 60:02}\t"
            f'{{"ip": "10.{c % 4}.{c >> 8}.{b % 256}", "page": "{_PAGES[b % 6]}", "agent": "{_AGENTS[c % 4]}", '
            f'"duration_ms": {b}, "items": [{a % 100}, {b % 100}]}}\t{" ".join(chance.choices(_WORDS, k=12))}\n'
        )


def blobs() -> Iterator[str]:
    """Files of 4 KiB."""
    chance = random.Random(13)
    for i in count(1):
        yield f"{i}\tfile-{i:07}.jpg\t4096\t{chance.randbytes(4096).hex()}\n"


PLAIN = (
    Table(
        "blobs",
        0.215,
        blobs,
        "id int PRIMARY KEY, name text, size int, body bytea",
        "id int PRIMARY KEY, name varchar(100), size int, body mediumblob",
    ),
    Table(
        "customers",
        0.04,
        customers,
        "id int PRIMARY KEY, name text, email text, city text, since timestamp, balance numeric(12,2), "
        "active boolean, note text",
        "id int PRIMARY KEY, name varchar(100), email varchar(100), city varchar(40), since datetime, "
        "balance decimal(12,2), active tinyint, note text",
        ("email",),
    ),
    Table(
        "events",
        0.54,
        events,
        "id bigint PRIMARY KEY, customer int, kind text, at timestamp, payload jsonb, line text",
        "id bigint PRIMARY KEY, customer int, kind varchar(10), at datetime, payload json, line text",
        ("customer",),
    ),
    Table(
        "pgbench_accounts",
        0.205,
        accounts,
        "aid int PRIMARY KEY, bid int, abalance int, filler char(84)",
        "aid int PRIMARY KEY, bid int, abalance int, filler char(84)",
    ),
)
