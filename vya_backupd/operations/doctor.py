"""Examinations: many checks side by side, none of which can hide another.

A check that fails of itself, or takes too long, is a finding like any other. What the checks are is said by
``doctor_host`` and ``doctor_servers``, and for what lies above this room by the panel that asks them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from vya_backupd.errors import VyaError
from vya_backupd.model.finding import Finding, Level, broken, doubtful

CHECK_SECONDS = 20.0
"""How long a check may take that says nothing else of itself."""

Answer = Callable[[], Awaitable[Sequence[Finding]]]

_log = structlog.get_logger("vya.doctor")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. ``instance`` None: the installation itself."""

    name: str
    run: Answer
    instance: str | None = None
    seconds: float = CHECK_SECONDS


async def examine(checks: Sequence[Check]) -> list[Finding]:
    """Run all checks at once. The findings are in the order of the checks; nothing is raised."""
    answers = await asyncio.gather(*map(perform, checks))
    return [finding for findings in answers for finding in findings]


async def perform(check: Check) -> list[Finding]:
    """The findings of one check, with their instance named."""
    try:
        async with asyncio.timeout(check.seconds):
            found = list(await check.run())
    except TimeoutError:
        found = [doubtful(check.name, f"no answer within {check.seconds:g} s", "It may be busy: try again.")]
    except VyaError as error:
        found = [of_error(check.name, error)]
    except Exception as error:  # noqa: BLE001 - a mistake of one check must not cost the others
        _log.exception("doctor.check_failed", check=check.name, instance=check.instance)
        found = [broken(check.name, f"the check itself failed: {type(error).__name__}", "The daemon's log says more.")]
    return [finding if finding.instance or not check.instance else finding.at(check.instance) for finding in found]


def of_error(check: str, error: VyaError, level: Level = Level.FAIL) -> Finding:
    """A failure as a finding."""
    return Finding(check, level, error.message, error.hint, error.instance, error.database)
