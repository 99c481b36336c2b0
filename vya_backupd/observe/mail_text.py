"""Texts of mails, from templates that an operator may replace.

A template is looked for in the operator's folder, then among those of the program; it runs in Jinja's sandbox, since it
is text and not code. A mail about a failed backup must not fail itself: where an operator's template has a mistake, the
program's own is taken, and the mail says so. ``check`` finds such mistakes beforehand, on made-up facts.

Jinja is imported at the first mail, not before: a daemon that sends none does not carry it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from vya_backupd.config.schema_notifications import Templates
from vya_backupd.errors import NoticeError
from vya_backupd.observe import mail_sample
from vya_backupd.observe.mail_words import filters, printable
from vya_backupd.observe.redaction import redact, redact_value

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

SHIPPED = Path(__file__).parent / "templates"
ROLES: Mapping[str, str] = {
    "success": "backup_success.html",
    "error": "backup_error.html",
    "digest": "digest.html",
    "alert": "alert.html",
    "test": "test.html",
}
"""What mails there are, and the program's own template of each. The plain part has the same name with ``.txt``."""


@dataclass(slots=True)
class Rendered:
    """Both parts of a mail. ``mistakes`` are of templates that could not be used."""

    html: str = ""
    plain: str = ""
    mistakes: list[NoticeError] = field(default_factory=list)


class Stationery:
    """The templates in force, as they are on disk when it is made. Use it off the event loop: it reads files."""

    def __init__(self, templates: Templates, zone: str) -> None:
        self._templates = templates
        self._zone = ZoneInfo(zone)
        self._shipped = self._environment([SHIPPED])

    def render(self, role: str, facts: dict[str, Any]) -> Rendered:
        """A mail's parts, without any known secret."""
        shown = redact_value(facts)
        done = Rendered()
        for suffix in (".txt", ".html"):
            text = self._render_part(role, suffix, shown, done.mistakes)
            if suffix == ".txt":
                done.plain = redact(text)
            else:
                done.html = redact(text)
        return done

    def check(self) -> Iterator[NoticeError]:
        """Every mistake that a template of the operator's shows on made-up facts."""
        for role in ROLES:
            for suffix in (".html", ".txt"):
                for facts in mail_sample.of(role):
                    try:
                        self._own(role, suffix, strict=True).render(**facts, notes=[])
                    except Exception as error:  # noqa: BLE001 - a template may raise anything
                        yield _mistake(self._name(role, suffix), error)
                        break

    def _render_part(self, role: str, suffix: str, facts: dict[str, Any], mistakes: list[NoticeError]) -> str:
        try:
            text: str = self._own(role, suffix).render(**facts, notes=[each.message for each in mistakes])
        except Exception as error:  # noqa: BLE001 - a template may raise anything
            mistakes.append(_mistake(self._name(role, suffix), error))
        else:
            return text
        shipped = self._shipped.get_template(str(Path(ROLES[role]).with_suffix(suffix)))
        return shipped.render(**facts, notes=[each.message for each in mistakes])

    def _name(self, role: str, suffix: str) -> str:
        name = str(getattr(self._templates, role, ROLES[role]))
        return str(Path(name).with_suffix(suffix))

    def _own(self, role: str, suffix: str, *, strict: bool = False) -> Any:
        """The operator's template of a part, or the program's where the operator has none.

        A HTML template with a name of its own need not have a plain part: then the program's is used.
        """
        name = Path(self._name(role, suffix))
        folders = [name.parent if name.is_absolute() else self._templates.folder, SHIPPED]
        names = [name.name if name.is_absolute() else str(name)]
        if suffix == ".txt":
            names.append(str(Path(ROLES[role]).with_suffix(suffix)))
        return self._environment(folders, strict=strict).select_template(names)

    def _environment(self, folders: list[Path], *, strict: bool = False) -> SandboxedEnvironment:
        from jinja2 import FileSystemLoader, StrictUndefined, Undefined, select_autoescape
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folders),
            autoescape=select_autoescape(enabled_extensions=("html",), default=False),
            undefined=StrictUndefined if strict else Undefined,
            finalize=printable,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters.update(filters(self._zone))
        return environment


def _mistake(name: str, error: Exception) -> NoticeError:
    line = f", line {number}" if (number := getattr(error, "lineno", None)) else ""
    return NoticeError(
        f"the template {name}{line} cannot be used: {type(error).__name__}: {error}",
        code="invalid_template",
        hint="docs/notifications.md lists what a template may use.",
        retryable=False,
    )
