"""All secrets that a configuration refers to, wherever they stand in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from vya_backupd.config.secret_ref import SecretRef

SHORTEST_TOKEN = 12
"""Shorter parts of an address (``hook``, ``api``) are words, not secrets."""
_TOKEN = re.compile(r"\d|[a-z][A-Z]")
"""What sets a token apart from a word: a digit, or a capital letter within it."""


def secret_parts(text: str) -> tuple[str, ...]:
    """A secret, and what of it others may show by itself: of an address its password, and of a web address its tokens.

    Ordinary words of an address are none: what is kept out of logs and mails would take them from other sentences.
    """
    if "://" not in text:
        return (text,)
    try:
        parts = urlsplit(text)
    except ValueError:
        return (text,)
    words = re.split(r"[/&=?]", f"{parts.path}/{parts.query}") if parts.scheme in ("http", "https") else []
    tokens = [each for each in words if len(each) >= SHORTEST_TOKEN and _TOKEN.search(each)]
    return (text, *tokens, *([parts.password] if parts.password else []))


def secrets_in(value: Any) -> Iterator[SecretRef]:
    """The references in a section, its groups and its lists."""
    if isinstance(value, SecretRef):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from secrets_in(each)
