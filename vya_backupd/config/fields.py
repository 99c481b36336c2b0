"""The kinds of value that configuration keys have, each with how it is read and how it is shown.

The loader hands over text (``yaml_text``, environment variables); ``Reading`` travels as the validation context.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    model_validator,
)

from vya_backupd.config import secret_ref
from vya_backupd.config.secret_ref import SecretRef
from vya_backupd.model.secret import mask_user


@dataclass(frozen=True, slots=True)
class Reading:
    """What a value may depend on: the folder of the file, where relative paths start, and the environment."""

    base: Path
    environ: dict[str, str] = field(default_factory=dict)


class Section(BaseModel):
    """A group of keys. Frozen; unknown keys are mistakes; a key without a value takes its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: Any) -> Any:
        """Groups that are left out are read as empty ones, so that their paths start at the right folder too."""
        if data is not None and not isinstance(data, dict):
            return data
        groups: dict[str, Any] = {name: {} for name, info in cls.model_fields.items() if _is_group(info.annotation)}
        return groups | {key: value for key, value in (data or {}).items() if value is not None}


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?")


def duration(value: Any) -> timedelta:
    """``90``, ``90s``, ``15m``, ``1h30m``, ``2d``: seconds where no unit stands.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    parts = _DURATION.findall(text)
    rest = _DURATION.sub("", text).strip()
    if not parts or rest or (len(parts) > 1 and not all(unit for _, unit in parts)):
        raise ValueError("must be a duration such as 90s, 15m, 36h or 2d")
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit or "s"] for number, unit in parts))
    except OverflowError:
        raise ValueError("is longer than any clock goes") from None


def duration_text(value: timedelta) -> str:
    """A duration in the largest unit that gives a whole number."""
    seconds = value.total_seconds()
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{int(seconds // _UNITS[unit])}{unit}"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


def _placed(value: Path, info: ValidationInfo) -> Path:
    if "\0" in str(value):
        raise ValueError("must be a path")
    path = secret_ref.expanded(value)
    return Path(os.path.normpath(info.context.base / path)) if isinstance(info.context, Reading) else path


def words(value: Any) -> Any:
    """A text as the list of its parts between commas; anything else as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _secret(value: Any, info: ValidationInfo) -> SecretRef:
    if isinstance(value, SecretRef):
        return value
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004  pydantic collects ValueError only
    reading = info.context if isinstance(info.context, Reading) else Reading(Path())
    return secret_ref.parse(value, reading.base, reading.environ)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not a time zone that this machine knows, such as America/Sao_Paulo or UTC") from None
    return value


def _url(value: str) -> str:
    if not re.match(r"https?://[^/\s]+", value):
        raise ValueError("must begin with http:// or https://")
    return value


def _one_line(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("must not hold control characters")
    return value


def _secret_url(value: Any, info: ValidationInfo) -> SecretRef:
    reference = _secret(value, info)
    if reference.scheme in ("plain", "env") and reference.found is not None:
        _url(reference.found.reveal())
    return reference


def _shown_url(value: SecretRef) -> str:
    return secret_ref.site_of(value.found.reveal()) if value.scheme == "plain" and value.found else str(value)


def _shown_secret(value: SecretRef | None) -> str | None:
    if value is None:
        return None
    if value.scheme == "plain" and value.found is not None and "://" in value.found.reveal():
        return secret_ref.mask_url(value.found.reveal())
    return str(value)


Text = Annotated[str, AfterValidator(_one_line)]
"""One line of text."""
Duration = Annotated[
    timedelta, BeforeValidator(duration), AfterValidator(_positive), PlainSerializer(duration_text, return_type=str)
]
"""A span of time longer than zero."""
Wait = Annotated[timedelta, BeforeValidator(duration), PlainSerializer(duration_text, return_type=str)]
"""A span of time that may be zero."""
FilePath = Annotated[Path, AfterValidator(_placed)]
"""A path; a relative one starts at the folder of config.yaml."""
Names = Annotated[tuple[Text, ...], BeforeValidator(words)]
"""A list of words; a single text is split at commas."""
Paths = Annotated[tuple[FilePath, ...], BeforeValidator(words)]
"""A list of paths."""
SecretField = Annotated[SecretRef, PlainValidator(_secret), PlainSerializer(_shown_secret, return_type=str)]
"""A secret, given by reference."""
TimeZone = Annotated[str, AfterValidator(_zone)]
"""The name of a time zone."""
HttpUrl = Annotated[str, AfterValidator(_url), PlainSerializer(secret_ref.mask_url, return_type=str)]
"""An http or https address."""
SecretUrl = Annotated[SecretRef, PlainValidator(_secret_url), PlainSerializer(_shown_url, return_type=str)]
"""An http or https address that may be a secret as a whole: given as it is or by reference, shown without its path."""
UserName = Annotated[Text, PlainSerializer(mask_user, return_type=str)]
"""A login name: shown as its first four characters."""
