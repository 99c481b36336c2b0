"""Mistakes of a configuration or credentials file: collected, placed, worded, and raised together.

A mistake never repeats the value it is about, since any value may be a secret that landed under the wrong key.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vya_backupd.errors import ConfigError

KeyPath = tuple[str | int, ...]

_WORDING = {
    "missing": "is required",
    "model_type": "must be a group of keys",
    "dict_type": "must be a group of keys",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "string_type": "must be text",
    "path_type": "must be a path",
    "tuple_type": "must be a list",
    "url_parsing": "must be a URL",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong: at which key, where that stands (``line 7``), and why."""

    path: KeyPath
    reason: str
    place: str = ""

    def __str__(self) -> str:
        name = dotted(self.path)
        text = f"{name}: {self.reason}" if name else self.reason
        return f"{self.place}: {text}" if self.place else text


def dotted(path: KeyPath) -> str:
    """A key path as people write it: ``databases[0].port``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def raise_all(
    file: Path, mistakes: Iterable[Mistake], *, code: str = "invalid_config", hint: str = ""
) -> typing.NoReturn:
    """Raise one error that lists every mistake, in the order of the file.

    Raises:
        ConfigError: always.
    """
    found = list(mistakes)
    count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    lines = "".join(f"\n  {mistake}" for mistake in found)
    raise ConfigError(f"{file} has {count}:{lines}", code=code, hint=hint)


def from_validation(error: ValidationError, model: type[BaseModel], place: Callable[[KeyPath], str]) -> list[Mistake]:
    """The mistakes in a failed validation, worded for the person who wrote the file."""
    found = []
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == "default_factory_not_called":  # follows from a mistake that is listed itself
            continue
        path = tuple(detail["loc"])
        found.append(Mistake(path, _reason(detail, path, model), place(path)))
    return found


def _reason(detail: Mapping[str, Any], path: KeyPath, model: type[BaseModel]) -> str:
    if detail["type"] == "extra_forbidden":
        return unknown_key(path, model)
    if detail["type"] in _WORDING:
        return _WORDING[detail["type"]]
    text = str(detail["msg"]).removeprefix("Value error, ")
    return text.replace("Input should", "should").replace("String should", "should")


def unknown_key(path: KeyPath, model: type[BaseModel]) -> str:
    """Why this key is refused, with the nearest one that exists: a neighbour first, then anywhere in the file."""
    key = str(path[-1])
    group = model_at(path[:-1], model)
    near = difflib.get_close_matches(key, group.model_fields, n=1) if group else []
    if near:
        return f"unknown key; did you mean {near[0]}?"
    known = {dotted(known): str(known[-1]) for known in key_paths(model)}
    same = [name for name, last in known.items() if last == key]
    elsewhere = same or difflib.get_close_matches(dotted(path), known, n=1)
    return f"unknown key; did you mean {elsewhere[0]}?" if elsewhere else "unknown key"


def model_at(path: KeyPath, model: type[BaseModel]) -> type[BaseModel] | None:
    """The group of keys at this path of a schema, or None."""
    here: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        field = here.model_fields.get(part) if here else None
        here = group_of(field.annotation) if field else None
    return here


def group_of(annotation: Any) -> type[BaseModel] | None:
    """The model inside ``Model``, ``Model | None`` or ``tuple[Model, ...]``; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (tuple, typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            if found := group_of(part):
                return found
    return None


def is_list(annotation: Any) -> bool:
    """Whether a field holds several of its group: ``tuple[Model, ...]``."""
    return typing.get_origin(annotation) is tuple


def key_paths(model: type[BaseModel], above: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key of a schema, groups and what is in them, in their order."""
    for name, field in model.model_fields.items():
        yield (*above, name)
        if group := group_of(field.annotation):
            yield from key_paths(group, (*above, name))
