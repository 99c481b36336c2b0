"""Daemons that are killed write no figures of coverage; so nobody needs to pay for gathering them there."""

from __future__ import annotations

UNCOVERED = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
"""The environment of a process whose lines are not counted: it starts and works nearly twice as fast."""

UNCOVERED_MODULES = frozenset(
    {
        "tests.docs.test_commands_run",
        "tests.docs.test_demo",
        "tests.docs.test_runbook",
        "tests.docs.test_tour",
        "tests.e2e.test_bad_input",
        "tests.e2e.test_canary",
        "tests.e2e.test_content_changes",
        "tests.e2e.test_content_rights",
        "tests.e2e.test_everything_lost",
        "tests.e2e.test_extremes",
        "tests.e2e.test_idrive",
        "tests.e2e.test_kills",
        "tests.e2e.test_leftovers",
        "tests.e2e.test_names",
        "tests.e2e.test_partial_kills",
        "tests.e2e.test_random_mysql",
        "tests.e2e.test_roundtrip_postgresql",
        "tests.e2e.test_scheduled_kills",
        "tests.e2e.test_schedules",
        "tests.e2e.test_standby",
        "tests.e2e.test_stopping",
        "tests.e2e.test_tls",
        "tests.endurance.test_endurance",
        "tests.faults.test_bench",
        "tests.faults.test_damage",
        "tests.faults.test_mutants",
        "tests.faults.test_network",
        "tests.security.test_hostile_content",
        "tests.security.test_http_attacks",
        "tests.security.test_local_users",
    }
)
"""Modules that start a daemon again and again to see one thing each, on lines that others have counted already."""
