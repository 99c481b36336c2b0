"""The reference of all keys, written by the schema: run ``python -m vya_backupd.config.reference`` after changing it.

It rewrites ``config/config.example.yaml`` and, between its two marks, the table of keys in ``docs/configuration.md``.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vya_backupd.config.fields import duration_text
from vya_backupd.config.mistakes import group_of, is_list
from vya_backupd.config.schema import Config
from vya_backupd.config.schema_limits import BytesPerSecond
from vya_backupd.config.secret_ref import SecretRef

EXAMPLE = Path("config/config.example.yaml")
PAGE = Path("docs/configuration.md")
BEGIN = "<!-- keys: written by vya_backupd.config.reference -->"
END = "<!-- /keys -->"
_HEAD = """\
# Configuration of VYA BackupDB: every key with its default.
#
# Each key may be left out. A small and complete configuration for a laptop:
#
#   application: {state_dir: ./state, environment: dev}
#   storage: {local: {base_path: ./backups}}
#   control: {socket_path: ./control.sock}
#   credentials: {file: ./credentials.json}
#
# Relative paths start at the folder of this file. Durations: 90s, 15m, 36h, 2d. Variables of the environment named
# VYA_SECTION__KEY come before what stands here. "vyactl config validate" reports all mistakes at once.
"""
_WORDS: dict[Any, str] = {
    bool: "true, false",
    int: "whole number",
    float: "number",
    str: "text",
    timedelta: "duration",
    Path: "path",
    SecretRef: "secret",
    tuple: "list",
    BytesPerSecond: "bytes per second",
}


def example() -> str:
    """The commented example: loads as it is, and says what the defaults say."""
    return _HEAD + "".join(_group_yaml(Config, 0))


def _group_yaml(model: type[BaseModel], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for name, field in model.model_fields.items():
        group = group_of(field.annotation)
        comment = field.description or ""
        if group is None:
            comment += f" ({_default_note(field)})" if _note(field) else ""
            comment += f" [{kind}]" if (kind := _kind(field)) not in ("text", "true, false", "list") else ""
        yield "\n" if depth == 0 else ""
        yield textwrap.fill(comment, 110, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ") + "\n"
        if group is not None and is_list(field.annotation):
            yield f"{pad}{name}: []\n{pad}# Each of them:\n{pad}# -\n"
            yield from (f"{pad}# {line}\n" for line in "".join(_group_yaml(group, 1)).splitlines())
        elif group is not None:
            yield f"{pad}{name}:\n"
            yield from _group_yaml(group, depth + 1)
        elif (value := _default(field)) is None:
            yield f"{pad}# {name}:\n"
        else:
            yield f"{pad}{name}: {value}\n"


def table() -> str:
    """The keys as Markdown: a section for each group that has keys of its own."""
    return "\n".join(_group_rows(Config, ""))


def _group_rows(model: type[BaseModel], path: str) -> Iterator[str]:
    fields = model.model_fields.items()
    keys = [(name, field) for name, field in fields if group_of(field.annotation) is None]
    if keys:
        yield f"### `{path}`\n"
        yield f"{(model.__doc__ or '').strip().splitlines()[0]}\n"
        yield "| key | value | default | meaning |"
        yield "|---|---|---|---|"
        for name, field in keys:
            meaning = (field.description or "").replace("|", "\\|")
            yield f"| `{name}` | {_kind(field)} | {_shown_default(field)} | {meaning} |"
        yield ""
    for name, field in fields:
        if group := group_of(field.annotation):
            item = "[]" if is_list(field.annotation) else ""
            yield from _group_rows(group, f"{path}.{name}".lstrip(".") + item)


def _note(field: FieldInfo) -> str | None:
    extra = field.json_schema_extra
    return str(extra["default"]) if isinstance(extra, dict) and "default" in extra else None


def _default_note(field: FieldInfo) -> str:
    return f"default: {_note(field)}"


def _shown_default(field: FieldInfo) -> str:
    value = _default(field)
    return _note(field) or (f"`{value}`" if value is not None else "")


def _default(field: FieldInfo) -> str | None:
    if field.is_required() or field.default_factory is not None or field.default is None:
        return None
    return _scalar(field.default)


def _scalar(value: Any) -> str:
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_scalar, value))}]"
    text = str(value)
    return text if re.fullmatch(r"[A-Za-z0-9_./-]+", text) else json.dumps(text)


def _kind(field: FieldInfo) -> str:
    annotation = _bare(field.annotation)
    if typing.get_origin(annotation) is Literal:
        return ", ".join(str(word) for word in typing.get_args(annotation))
    bounds = {type(limit).__name__: limit for limit in field.metadata}
    if annotation is int and {"Ge", "Le"} <= bounds.keys():
        return f"{bounds['Ge'].ge} to {bounds['Le'].le}"
    return _WORDS[typing.get_origin(annotation) or annotation]


def _bare(annotation: Any) -> Any:
    """The type inside ``Annotated`` and ``| None``."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _bare(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _bare(next(part for part in typing.get_args(annotation) if part is not type(None)))
    return annotation


def page(old: str) -> str:
    """The page of the documentation with its table of keys made new.

    Raises:
        ValueError: the marks are not there.
    """
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


def main(root: Path) -> None:
    """Rewrite both files in the source tree at ``root``."""
    (root / EXAMPLE).write_text(example(), encoding="utf-8")
    (root / PAGE).write_text(page((root / PAGE).read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Rewrite the example and the table of all keys.")
    arguments.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[2], help="default: %(default)s")
    main(arguments.parse_args().root)
