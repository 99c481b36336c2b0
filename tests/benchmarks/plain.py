"""A second database for the benchmark: machine-made rows, as most measurements of dump tools use them.

The same four kinds of table as a test database that scripts fill in an evening: 300,000 customers, two million events
with a JSON document and a line of text each, files as incompressible bytes, and pgbench's accounts of scale 20, of a
gigabyte together. Rows resemble each other but for numbers, keys in hexadecimal and files, and the fastest compressor
makes a file within 1.02 of ``gzip -6`` by itself. The database of ``tests.benchmarks.data`` is harder: there it does not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count

from tests.benchmarks.data import Table

_START = datetime(2025, 1, 1)
_CITIES = ("Curitiba", "Recife", "Porto Alegre", "Campinas", "Manaus", "Belém", "Santos", "Natal", "Vitória", "Goiânia")
_KINDS = ("view", "click", "purchase", "refund", "login", "logout")
_PAGES = ("/", "/products", "/cart", "/checkout", "/account/orders", "/help")
_LINES = (
    "the customer looked at a page and went on to the next one, as most of them do at this time of the day",
    "an order was placed and paid by card; the invoice went out with the next run",
    "nothing was found that fits, so the list of all products was shown instead of an empty page",
)


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
            f"{i}\tCustomer {i}\tcustomer{i}@example.com\t{_CITIES[i % 10]}\t{_START + timedelta(minutes=i)}\t"
            f"{chance.randint(0, 9999)}.00\t{i % 2}\t{chance.getrandbits(128):032x}\n"
        )


def events() -> Iterator[str]:
    """What they did."""
    chance = random.Random(12)
    for i in count(1):
        yield (
            f"{i}\t{chance.randint(1, 300_000)}\t{_KINDS[i % 6]}\t{_START + timedelta(seconds=9 * i)}\t"
            f'{{"session": "{chance.getrandbits(128):032x}", "page": "{_PAGES[i % 6]}", "items": [{i % 100}]}}\t'
            f"{_LINES[i % 3]}\n"
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
