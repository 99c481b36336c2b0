"""What may be said together of single tables."""

from __future__ import annotations

from typing import Any

import pytest

from vya_backupd.errors import UsageError
from vya_backupd.operations.requests import RestoreRequest

BASE: dict[str, Any] = {"instance": "one", "database": "shop", "latest": True}


@pytest.mark.parametrize(
    "terms",
    [
        {"target_table": "b"},
        {"schema_only": True, "overwrite": True},
        {"schema_only": True, "no_indexes": True},
        {"append": True},
        {"data_only": True, "schema_only": True},
        {"data_only": True, "overwrite": True},
        {"data_only": True, "target_table": "b"},
        {"data_only": True, "skip_binlog": True},
        {"tables": ["a", "b"], "target_table": "c"},
        {"tables": ["a"], "schema_only": True, "data_only": True},
        {"tables": ["a"], "data_only": True, "overwrite": True},
        {"tables": ["a"], "data_only": True, "target_table": "b"},
        {"tables": ["a"], "data_only": True, "no_indexes": True},
        {"tables": ["a"], "append": True},
        {"tables": ["a"], "globals": True},
    ],
)
def test_what_contradicts_itself_is_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        RestoreRequest.parse(BASE | terms)


@pytest.mark.parametrize(
    "terms",
    [
        {"tables": ["a", "b"]},
        {"tables": ["a"], "target_table": "b", "no_indexes": True, "schema_only": True},
        {"tables": ["a"], "data_only": True, "append": True},
        {"tables": ["a"], "overwrite": True},
    ],
)
def test_what_goes_together(terms: dict[str, Any]) -> None:
    assert RestoreRequest.parse(BASE | terms).tables


def test_definitions_can_be_those_of_a_whole_database() -> None:
    assert RestoreRequest.parse(BASE | {"schema_only": True}).tables is None


def test_rows_can_be_those_of_all_tables() -> None:
    request = RestoreRequest.parse(BASE | {"data_only": True, "append": True})
    assert (request.tables, request.is_of_tables) == (None, True)
