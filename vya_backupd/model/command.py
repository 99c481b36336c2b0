"""A program to run, described and not yet run."""

from __future__ import annotations

from dataclasses import dataclass, field

from vya_backupd.model.secret import Secret


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file that a command needs and that must not outlive it: written 0600 into a private folder.

    ``placeholder`` stands in ``argv`` and ``env`` where the real path goes.
    """

    placeholder: str
    content: Secret


@dataclass(frozen=True, slots=True)
class Command:
    """Program, arguments and environment; secrets only in ``files``.

    ``env`` is the whole environment of the child, apart from what ``process`` adds for every child (PATH, HOME in the
    private folder, a neutral locale, TZ=UTC).
    """

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    files: tuple[SecretFile, ...] = ()
    name: str = ""
    """How the program is called in errors and logs: ``pg_dump 18.6``."""
