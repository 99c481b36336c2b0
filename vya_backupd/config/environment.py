"""Environment variables over ``config.yaml``: ``VYA_SECTION__KEY``, and the ``.env`` file beside it.

Only names with a double underscore are keys: ``VYA_CONFIG`` and ``VYA_SOCKET`` mean something else. The process's own
environment comes before ``.env``, and both before the file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vya_backupd.config.mistakes import KeyPath
from vya_backupd.errors import ConfigError

_KEY = re.compile(r"VYA_[A-Za-z0-9]\w*?__\w+")
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)")
_SIZE_LIMIT = 1 << 18


def read_dotenv(folder: Path) -> dict[str, str]:
    """The variables of ``.env`` in this folder; none when there is no such file.

    Raises:
        ConfigError: it belongs to somebody else, others can change it, or a line is no assignment.
    """
    path = folder / ".env"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", code="config_not_found") from None
    try:
        _check(os.fstat(fd), path)
        with open(fd, "rb", closefd=False) as file:
            content = file.read(_SIZE_LIMIT)
    finally:
        os.close(fd)
    return _assignments(content.decode("utf-8", "surrogateescape"), path)


def _check(facts: os.stat_result, path: Path) -> None:
    foreign = facts.st_uid not in (0, os.geteuid())
    if foreign or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or not stat.S_ISREG(facts.st_mode):
        raise ConfigError(
            f"{path} is not taken: it must be a regular file of root or of user {os.geteuid()}, writable by its owner only",
            hint=f"chown and chmod 600 {path}, or remove it.",
        )


def _assignments(text: str, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"{path} line {number} is not NAME=value", hint="Comments begin with #.")
        value = match[2]
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[match[1]] = value
    return found


def keys_in(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are keys of the configuration."""
    return {name: text for name, text in environ.items() if _KEY.fullmatch(name)}


def overlay(data: dict[str, Any], environ: Mapping[str, str]) -> dict[KeyPath, str]:
    """Put the variables that are keys into ``data``, changing it. Returns which variable each key came from."""
    origins: dict[KeyPath, str] = {}
    for name in sorted(keys_in(environ)):
        path = tuple(part.lower() for part in name.removeprefix("VYA_").split("__"))
        _put(data, path, environ[name])
        origins[path] = f"environment variable {name}"
    return origins


def _put(data: dict[str, Any], path: tuple[str, ...], text: str) -> None:
    here = data
    for part in path[:-1]:
        inner = here.get(part)
        if not isinstance(inner, dict):
            inner = here[part] = {}
        here = inner
    here[path[-1]] = text
