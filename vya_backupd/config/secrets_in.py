"""All secrets that a configuration refers to, wherever they stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from vya_backupd.config.secret_ref import SecretRef

LONG_PATH = 12
"""Shorter paths of web addresses (``hook``, ``api/v1``) are words, not secrets."""


def secret_parts(text: str) -> tuple[str, ...]:
    """A secret, and what of it others may show by itself: of an address its password, and of a web address its path."""
    if "://" not in text:
        return (text,)
    try:
        parts = urlsplit(text)
    except ValueError:
        return (text,)
    path = parts.path.strip("/") if parts.scheme in ("http", "https") else ""
    found = (text, parts.password or "", path if len(path) >= LONG_PATH else "", parts.query)
    return tuple(filter(None, found))


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
