"""Reading values out of JSON that anybody may have written: each is what it claims to be, or a ValueError.

JSON of Python knows infinities, numbers of any size, times without a zone and halves of characters. Each of them would
be taken here, and be the death of somebody further on: of the catalog, of a comparison, of an answer to a client.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

WRONG = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What comes of records that are not what they should be."""
_LARGEST = (1 << 63) - 1
"""What a catalog holds."""
_YEARS = range(1970, 9999)


def record_of(payload: bytes) -> dict[str, Any]:
    """The JSON object in these bytes.

    Raises:
        ValueError: there is none.
    """
    try:
        record = json.loads(payload)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - one kind of failure for whoever reads
    return record


def natural(value: Any) -> int:
    """A count or a size: 0 or more, and no more than a catalog holds. Raises ValueError."""
    number = int(value)
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"{number} is no size and no count")
    return number


def seconds(value: Any) -> float:
    """A span of time: finite, 0 or more. Raises ValueError."""
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{number} is no span of time")
    return number


def moment(value: Any) -> datetime:
    """A time with its offset, of years in which backups are made. Raises ValueError."""
    found = datetime.fromisoformat(value)
    if found.tzinfo is None or found.year not in _YEARS:
        raise ValueError(f"{value!r} is no time with an offset")
    found.astimezone(UTC)
    return found


def text(value: Any) -> str:
    """A name that a catalog can hold: without halves of characters and without NUL. Raises ValueError."""
    found = str(value)
    if "\0" in found:
        raise ValueError("a text has a NUL in it")
    found.encode("utf-8")
    return found
