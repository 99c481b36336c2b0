"""From a path to a ``Config``, with every mistake found at once; and back, with no secret in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vya_backupd.config import mistakes, yaml_text
from vya_backupd.config.concealing import variables as variables_given
from vya_backupd.config.environment import overlay, read_dotenv
from vya_backupd.config.fields import Reading
from vya_backupd.config.mistakes import KeyPath, Mistake
from vya_backupd.config.schema import Config
from vya_backupd.config.secret_ref import SCHEMES, has_password
from vya_backupd.errors import ConfigError

DEFAULT_PATH = Path("/etc/vya_backupdb/config.yaml")
_EACH = "*"
"""In a path: every item of a list."""
_SECRETS: tuple[KeyPath, ...] = (
    ("notifications", "email", "password"),
    ("notifications", "webhooks", _EACH, "secret"),
)
_URLS: tuple[KeyPath, ...] = (
    ("catalog", "url"),
    ("monitoring", "prometheus", "pushgateway_url"),
    ("notifications", "webhooks", _EACH, "url"),
    ("notifications", "ping", "success_url"),
    ("notifications", "ping", "failure_url"),
)


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read, overlay and validate a configuration.

    ``environ`` stands for the process's environment (tests give their own).

    Raises:
        ConfigError: ``config_not_found`` the file cannot be read; ``invalid_config`` listing every mistake with its
            line or variable.
    """
    path = path.absolute()
    variables = read_dotenv(path.parent) | dict(variables_given() if environ is None else environ)
    text = yaml_text.parse(_read(path), path)
    origins = overlay(text.data, variables)

    def place(key: KeyPath) -> str:
        return origins.get(key) or text.place(key)

    found = text.mistakes + _plain_secrets(text.data, place)
    config: Config | None = None
    try:
        config = Config.model_validate(text.data, context=Reading(path.parent, variables))
    except ValidationError as error:
        found += mistakes.from_validation(error, Config, place)
    if config is None or found:
        found.sort(key=lambda mistake: text.lines.get(mistake.path, 0))
        mistakes.raise_all(path, found, hint="docs/configuration.md explains every key.")
    return config


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            content = file.read(yaml_text.SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(
            f"configuration {path} cannot be read: {error.strerror}",
            code="config_not_found",
            hint="Give it with --config or VYA_CONFIG; config/config.example.yaml is a start.",
        ) from None
    if stat.S_IMODE(facts.st_mode) & stat.S_IWOTH:
        raise ConfigError(f"configuration {path} can be changed by everybody", hint=f"chmod o-w {path}")
    if len(content) > yaml_text.SIZE_LIMIT:
        raise ConfigError(f"configuration {path} is larger than 1 MiB", hint="Is it the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"configuration {path} is not UTF-8 text: line {line}") from None


def _plain_secrets(data: dict[str, Any], place: Any) -> list[Mistake]:
    """Secrets written out in a production configuration; looked for in the text, so that other mistakes hide none."""
    environment = dict(_at(data, ("application", "environment"))).get(("application", "environment"))
    if (environment or "production") != "production":
        return []
    ways = ", ".join(f"{scheme}:" for scheme in SCHEMES)
    reason = f"is a plain secret, refused in production; give it as one of {ways} (or set application.environment)"
    found = []
    for pattern in _SECRETS + _URLS:
        for path, text in _at(data, pattern):
            if not isinstance(text, str) or text.startswith(tuple(f"{scheme}:" for scheme in SCHEMES)):
                continue
            if pattern in _SECRETS or has_password(text):
                found.append(Mistake(path, reason, place(path)))
    return found


def _at(data: Any, pattern: KeyPath, above: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """The values at a path that may go through every item of a list, each with its own path."""
    if not pattern:
        yield above, data
        return
    part, *rest = pattern
    if part == _EACH and isinstance(data, list):
        for number, item in enumerate(data):
            yield from _at(item, tuple(rest), (*above, number))
    elif isinstance(data, dict) and part in data:
        yield from _at(data[part], tuple(rest), (*above, part))


def show(config: Config) -> dict[str, Any]:
    """The configuration in force, as JSON values, defaults included and secrets masked."""
    shown: dict[str, Any] = config.model_dump(mode="json")
    shown["backup"]["max_age"] = shown["backup"]["max_age"] or f"{config.max_age.total_seconds() / 3600:g}h"
    shown["audit"]["file_path"] = str(config.audit_path)
    if config.catalog.url is None:
        shown["catalog"]["url"] = config.catalog_url().reveal()
    return shown
