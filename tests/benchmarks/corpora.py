"""Texts like those in dumps, from numbers to noise: the same bytes at every call."""

from __future__ import annotations

import base64
import json
import random
import sysconfig
from collections.abc import Callable, Iterator
from itertools import accumulate, chain, count, takewhile
from pathlib import Path


def _fill(size: int, lines: Iterator[str]) -> bytes:
    return "".join(line for line, _ in takewhile(lambda pair: pair[1] < size, _with_sizes(lines))).encode()


def _with_sizes(lines: Iterator[str]) -> Iterator[tuple[str, int]]:
    total = 0
    for line in lines:
        total += len(line)
        yield line, total


def _words(chance: random.Random, amount: int) -> list[str]:
    """Made-up words, as unevenly frequent as real ones."""
    letters = "etaoinshrdlucmfwypvbgk"
    stock = ["".join(chance.choices(letters, k=chance.randint(2, 10))) for _ in range(20_000)]
    weights = list(accumulate(1 / rank for rank in range(1, len(stock) + 1)))
    return chance.choices(stock, cum_weights=weights, k=amount)


def numbers(size: int) -> bytes:
    """COPY rows of integers, timestamps and amounts."""
    chance = random.Random(1)
    rows = (
        f"{i}\t{chance.randint(1, 20)}\t{chance.randint(1, 2_000_000)}\t{chance.randint(-5000, 5000)}\t2026-0"
        f"{chance.randint(1, 9)}-{chance.randint(10, 28)} 10:{chance.randint(10, 59)}:{chance.random() * 50 + 10:.4f}\n"
        for i in count()
    )
    return _fill(size, rows)


def documents(size: int) -> bytes:
    """COPY rows of JSON."""
    chance = random.Random(2)
    words = _words(chance, 5000)
    rows = (
        f"{i}\t"
        + json.dumps(
            {
                "id": i,
                "type": chance.choice(["click", "view", "buy"]),
                "user": {"id": chance.randint(1, 300_000), "name": chance.choice(words)},
                "tags": chance.sample(words, 3),
                "amount": round(chance.random() * 100, 2),
            }
        )
        + "\n"
        for i in count()
    )
    return _fill(size, rows)


def prose(size: int) -> bytes:
    """COPY rows of running text."""
    chance = random.Random(3)
    words = _words(chance, size // 4)
    return _fill(size, (f"{i}\t{' '.join(words[i : i + 25])}.\n" for i in range(0, len(words), 25)))


def sources(size: int) -> bytes:
    """Program text: the standard library."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return b"".join(takewhile(bool, chain(path.read_bytes() for path in paths)))[:size]


def hexadecimal(size: int) -> bytes:
    """COPY rows of bytea: noise, written as hex digits."""
    chance = random.Random(4)
    return _fill(size, (f"{i}\t\\\\x{chance.randbytes(1000).hex()}\n" for i in count()))


def base64_rows(size: int) -> bytes:
    """COPY rows of base64: noise, six bits to the byte."""
    chance = random.Random(5)
    return _fill(size, (f"{i}\t{base64.b64encode(chance.randbytes(900)).decode()}\n" for i in count()))


def noise(size: int) -> bytes:
    """Bytes that nothing can shorten."""
    return random.Random(6).randbytes(size)


def inserts(size: int) -> bytes:
    """INSERT statements of many rows, a line for each."""
    chance = random.Random(7)
    words = _words(chance, 20_000)
    rows = (
        f"{'INSERT INTO `customers` VALUES ' if i % 200 == 0 else ''}({i},'{chance.choice(words)} "
        f"{chance.choice(words)}','{chance.choice(words)}@example.com',{chance.random() * 1000:.2f},'2026-01-"
        f"{chance.randint(10, 28)} 10:{chance.randint(10, 59)}:00',NULL){';' if i % 200 == 199 else ','}\n"
        for i in count()
    )
    return _fill(size, rows)


def padded(size: int) -> bytes:
    """COPY rows that are mostly blanks, as pgbench makes them."""
    chance = random.Random(8)
    return _fill(size, (f"{i}\t{i // 100_000 + 1}\t{chance.randint(-5000, 5000)}\t{' ' * 84}\n" for i in count()))


def mixed(size: int) -> bytes:
    """All of them in turn, in pieces of a fifth of a megabyte: a table that never stays the same."""
    kinds = [numbers, documents, prose, hexadecimal, inserts, padded]
    texts = [kind(size // len(kinds)) for kind in kinds]
    step = 200_000
    return b"".join(text[at : at + step] for at in range(0, size, step) for text in texts)


CORPORA: dict[str, Callable[[int], bytes]] = {
    kind.__name__: kind
    for kind in (
        numbers,
        documents,
        prose,
        sources,
        hexadecimal,
        base64_rows,
        noise,
        inserts,
        padded,
        mixed,
    )
}
