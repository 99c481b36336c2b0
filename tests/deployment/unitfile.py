"""Reading a unit file as systemd does: repeated keys add up, an empty value forgets what was said before."""

from __future__ import annotations

import re
from pathlib import Path

Sections = dict[str, dict[str, list[str]]]


def read_unit(path: Path) -> Sections:
    """Values by section and key, in the order of the file."""
    sections: Sections = {}
    here: dict[str, list[str]] = {}
    for line in re.sub(r"\\\n\s*", " ", path.read_text()).splitlines():
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            here = sections.setdefault(line.strip("[]"), {})
            continue
        key, _, value = line.partition("=")
        if value:
            here.setdefault(key, []).append(value)
        else:
            here[key] = []
    return sections


def seconds(span: str) -> float:
    """A span of time such as ``6min`` or ``5min 20s``."""
    units = {"": 1, "s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)\s*([a-z]*)", span))
