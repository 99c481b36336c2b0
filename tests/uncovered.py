"""Daemons that are killed write no figures of coverage; so nobody needs to pay for gathering them there."""

from __future__ import annotations

UNCOVERED = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
"""The environment of a process whose lines are not counted: it starts and works nearly twice as fast."""
