"""A database that nothing but its owner sets apart is described without a second run of pg_dump, in the same words."""

from __future__ import annotations

import pytest

from tests.engines.rig import Rig
from tests.engines.test_properties import printed
from vya_backupd.engines.statements import statements


def _tokens(templates: tuple[str, ...]) -> list[list[str]]:
    """The words of statements, whether or not a name is quoted needlessly."""
    return [[token.value for token in each.tokens] for text in templates for each in statements(text)]


@pytest.mark.parametrize("owner", ["plain_owner", 'Odd "own{er}'])
async def test_the_owner_is_all_that_pg_dump_would_print(postgresql_rig: Rig, fresh_name: str, owner: str) -> None:
    rig, name = postgresql_rig, f"{fresh_name}_{{x}}"
    role, quoted = rig.engine.quote(f"{owner}{fresh_name}"), rig.engine.quote(name)
    await rig.create(name)
    await rig.probe.execute(rig.instance, [f"CREATE ROLE {role}", f"ALTER DATABASE {quoted} OWNER TO {role}"])
    facts = await rig.probe.database(rig.instance, name)
    assert facts.is_plain
    asked = rig.engine.database_sql(await printed(rig, name), name)
    assert _tokens(rig.engine.plain_database_sql(facts.properties)) == _tokens(asked)
    await rig.probe.execute(rig.instance, rig.engine.properties_sql(asked, name))
    await rig.drop(name)
    await rig.probe.execute(rig.instance, [f"DROP ROLE {role}"])


@pytest.mark.parametrize(
    "statement",
    [
        "COMMENT ON DATABASE {} IS 'x'",
        "ALTER DATABASE {} SET work_mem = '9MB'",
        "ALTER DATABASE {} CONNECTION LIMIT 9",
        "ALTER DATABASE {} IS_TEMPLATE true",
        "ALTER ROLE CURRENT_USER IN DATABASE {} SET work_mem = '9MB'",
        "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
    ],
)
async def test_whatever_else_is_set_is_asked_of_pg_dump(postgresql_rig: Rig, fresh_name: str, statement: str) -> None:
    rig = postgresql_rig
    await rig.create(fresh_name)
    await rig.probe.execute(rig.instance, [statement.format(fresh_name)])
    facts = await rig.probe.database(rig.instance, fresh_name)
    assert not facts.is_plain
    asked = rig.engine.database_sql(await printed(rig, fresh_name), fresh_name)
    assert len(asked) > len(rig.engine.plain_database_sql(facts.properties))
    await rig.drop(fresh_name)
