"""No registered secret survives in any form."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vya_backupd.observe.redaction import MASK, disguises, forget_secrets, redact, redact_value, register_secret

PRINTABLE = "".join(map(chr, range(33, 127)))
SECRETS = ["canary-0815", "pa\"ss\\wo'rd", "sp ace\tand\nline", "gÄnse🪿füßchen", PRINTABLE, "%41%42", "a:b@c/d?e#f"]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    forget_secrets()
    yield
    forget_secrets()


def forms(secret: str) -> dict[str, str]:
    raw = secret.encode()
    option = secret.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return {
        "plain": secret,
        "json": json.dumps({"password": secret}),
        "json unicode": json.dumps({"password": secret}, ensure_ascii=False),
        "json in json": json.dumps({"body": json.dumps({"password": secret})}),
        "url": f"postgresql://u:{quote(secret, safe='')}@h/db",
        "form": f"p={quote_plus(secret)}",
        "repr": repr(secret),
        "repr in list": repr([secret, {"p": secret}]),
        "bytes": repr(raw),
        "option file": f'password="{option}"',
        "pgpass": "h:5432:*:u:" + secret.replace("\\", "\\\\").replace(":", "\\:"),
        "sql": "IDENTIFIED BY '" + secret.replace("'", "''") + "'",
        "hex": raw.hex(),
        "base64": base64.b64encode(raw).decode(),
        "base64 of user:secret": base64.b64encode(b"user:" + raw + b":x").decode(),
        "base64 of u:secret": base64.b64encode(b"u:" + raw).decode(),
        "base64 url": base64.urlsafe_b64encode(b"me:" + raw).decode(),
    }


@pytest.mark.parametrize("secret", SECRETS)
def test_every_form_is_found(secret: str) -> None:
    register_secret(secret)
    for name, text in forms(secret).items():
        clean = redact(f"before {text} after")
        assert MASK in clean, name
        assert secret not in clean, name
        assert clean.startswith("before "), name
        assert clean.endswith(" after"), name
        # Nothing of five characters or more of the form is left over.
        leftover = clean.replace(MASK, "")
        assert secret[2:7] not in leftover, name


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=6, max_size=40).filter(lambda text: len(text.strip()) >= 6 and text.isprintable()))
def test_any_printable_secret(secret: str) -> None:
    forget_secrets()
    register_secret(secret)
    for name, text in forms(secret).items():
        assert redact(text) != text, name
        assert secret not in redact(text), name


def test_structures_errors_and_keys() -> None:
    register_secret("canary-0815")

    class Odd:
        def __str__(self) -> str:
            return "odd canary-0815"

    value = {
        "canary-0815": [b"xcanary-0815", ("canary-0815", {"deep": ValueError("canary-0815")}), Odd(), 5, None, True]
    }
    clean = redact_value(value)
    assert "canary" not in repr(clean)
    assert next(iter(clean.values()))[3:] == [5, None, True]
    deep: list[object] = ["canary-0815"]
    for _ in range(50):
        deep = [deep]
    assert "canary" not in repr(redact_value(deep))


def test_many_secrets_and_overlaps() -> None:
    for secret in ("alpha", "alphabet", "bet-alpha"):
        register_secret(secret)
    assert redact("alphabet") == MASK
    assert "alpha" not in redact("xbet-alphabetx")
    register_secret("abc")
    assert redact("abc stays: too short to hide") == "abc stays: too short to hide"


def test_it_finds_what_a_pattern_of_all_forms_would_find() -> None:
    chance = random.Random(1)

    def letters(length: int) -> str:
        return "".join(chance.choice("abc") for _ in range(length))

    secrets = [letters(chance.randint(4, 9)) for _ in range(40)]
    forget_secrets()
    for secret in secrets:
        register_secret(secret)
    forms = sorted({form for secret in secrets for form in disguises(secret)}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, forms)))
    for _ in range(300):
        text = letters(chance.randint(0, 60))
        assert redact(text) == pattern.sub(MASK, text)
