"""YAML read as plain text: groups, lists, strings and nothing else, each with the line that it stands on.

YAML guesses types from spelling: ``no`` is false, ``2026-01-09`` a date, ``12:30`` the number 750, ``1.10`` is 1.1. Here
every scalar stays the text that was written, and the schema, which knows what it wants, converts it. Only an empty
value, ``~`` and ``null`` are None. Duplicate keys, tags and structures that would unfold without end are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vya_backupd.config.mistakes import KeyPath, Mistake

SIZE_LIMIT = 1 << 20
"""Bytes of a configuration file; nobody's is larger, and a parser should not be fed with a disk image."""
_NODE_LIMIT = 20_000
_DEPTH_LIMIT = 12
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_PLAIN_TAGS = frozenset({f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq")})


@dataclass(slots=True)
class YamlText:
    """What a file says: ``data`` (dicts, lists, str, None), the line of each key, and what is wrong with its form."""

    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    nodes: int = 0

    def place(self, path: KeyPath) -> str:
        """``line N`` of this key, or of the nearest group around it that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"line {self.lines[path]}" if path else ""


def parse(text: str, file: Path) -> YamlText:
    """Read the text of a configuration file. Mistakes of form are in the result, not raised."""
    found = YamlText()
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "cannot be read as YAML"
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        found.mistakes.append(Mistake((), f"not YAML: {reason}", place))
        return found
    if root is None:
        return found
    data = _value(root, (), found)
    if isinstance(data, dict):
        found.data = data
    elif data is not None:
        found.mistakes.append(Mistake((), f"{file.name} must be a group of keys at its top"))
    return found


def _value(node: yaml.Node, path: KeyPath, found: YamlText) -> Any:
    found.nodes += 1
    if found.nodes > _NODE_LIMIT or len(path) > _DEPTH_LIMIT:
        if found.nodes <= _NODE_LIMIT + 1:
            found.nodes = _NODE_LIMIT + 1
            found.mistakes.append(Mistake(path[:3], "too large or too deeply nested", _line(node)))
        return None
    if node.tag not in _PLAIN_TAGS:
        found.mistakes.append(Mistake(path, "YAML tags are not understood here", _line(node)))
        return None
    if isinstance(node, yaml.MappingNode):
        return _group(node, path, found)
    if isinstance(node, yaml.SequenceNode):
        return [_item(item, (*path, index), found) for index, item in enumerate(node.value)]
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return None if plain and node.value in _NULLS else str(node.value)


def _item(node: yaml.Node, path: KeyPath, found: YamlText) -> Any:
    found.lines.setdefault(path, node.start_mark.line + 1)
    return _value(node, path, found)


def _group(node: yaml.MappingNode, path: KeyPath, found: YamlText) -> dict[str, Any]:
    group: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            found.mistakes.append(Mistake(path, "a key must be a word", _line(key)))
            continue
        here = (*path, str(key.value))
        if key.value in group:
            reason = f"is there twice; first in line {found.lines[here]}"
            found.mistakes.append(Mistake(here, reason, _line(key)))
            continue
        found.lines.setdefault(here, key.start_mark.line + 1)
        group[str(key.value)] = _value(value, here, found)
    return group


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"
