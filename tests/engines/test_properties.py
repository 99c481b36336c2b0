"""What belongs to a PostgreSQL database itself comes back under another name, however that is called."""

from __future__ import annotations

import re

import pytest

from tests.engines.rig import Rig
from vya_backupd.engines.postgresql_properties import applied, templates

NAMES = ("TO", "a {b} c", "sq'dq\"x", "plain")


async def printed(rig: Rig, name: str) -> bytes:
    command = rig.engine.properties_command(rig.instance, name, rig.tools, rig.facts)
    assert command is not None
    done = await rig.spawner.run(command)
    assert done.exit.ok, done.exit.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
async def test_properties_come_back_under_another_name(postgresql_rig: Rig, fresh_name: str, name: str) -> None:
    rig, role = postgresql_rig, f"r_{fresh_name}"
    other = name + " copy"
    quoted = rig.engine.quote(name)
    await rig.create(name)
    await rig.probe.execute(
        rig.instance,
        [
            f"CREATE ROLE {role}",
            f"ALTER DATABASE {quoted} OWNER TO {role}",
            f"COMMENT ON DATABASE {quoted} IS 'on DATABASE \"TO\" {{database}} plain; \\ ''x'''",
            f"ALTER DATABASE {quoted} SET search_path TO '{{x}}', public",
            f"ALTER DATABASE {quoted} CONNECTION LIMIT 9",
            f"ALTER ROLE {role} IN DATABASE {quoted} SET work_mem = '9MB'",
            f"REVOKE CONNECT ON DATABASE {quoted} FROM PUBLIC",
            f"GRANT CREATE ON DATABASE {quoted} TO {role} WITH GRANT OPTION",
        ],
    )
    output = await printed(rig, name)
    found = rig.engine.database_sql(output, name)
    assert len(found) >= 7
    properties = (await rig.probe.database(rig.instance, name)).properties
    await rig.create(other, properties=properties)
    await rig.probe.execute(rig.instance, rig.engine.properties_sql(found, other))
    again = rig.engine.database_sql(await printed(rig, other), other)
    assert again == found
    await rig.drop(name, other)
    await rig.probe.execute(rig.instance, [f"DROP ROLE {role}"])


@pytest.mark.parametrize(
    "clauses",
    [
        "ENCODING 'SQL_ASCII' LOCALE 'C'",
        "ENCODING 'LATIN1' LOCALE 'C'",
        "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LOCALE 'C'",
    ],
)
async def test_encoding_and_locale_come_back(postgresql_rig: Rig, fresh_name: str, clauses: str) -> None:
    rig, other = postgresql_rig, fresh_name + "_2"
    if "icu" in clauses:
        icu = "SELECT count(*) FROM pg_collation WHERE collprovider = 'i' AND collname = 'und-x-icu'"
        if not await rig.probe.number(rig.instance, icu):
            pytest.skip(f"{rig.server.spec.label} ({rig.server.spec.origin}) is built without ICU")
    await rig.probe.execute(rig.instance, [f"CREATE DATABASE {fresh_name} TEMPLATE template0 {clauses}"])
    properties = (await rig.probe.database(rig.instance, fresh_name)).properties
    await rig.create(other, properties=properties)
    assert (await rig.probe.database(rig.instance, other)).properties == properties
    one, two = [re.search(rb"CREATE DATABASE (\w+) (.*);", await printed(rig, name)) for name in (fresh_name, other)]
    assert one is not None
    assert two is not None
    assert one[2] == two[2]
    await rig.drop(fresh_name, other)


async def test_mysql_s_character_set_comes_back(mysql_rig: Rig, fresh_name: str) -> None:
    rig, other = mysql_rig, fresh_name + "_2"
    await rig.probe.execute(rig.instance, [f"CREATE DATABASE {fresh_name} CHARACTER SET latin2 COLLATE latin2_bin"])
    properties = (await rig.probe.database(rig.instance, fresh_name)).properties
    await rig.create(other, properties=properties)
    assert (await rig.probe.database(rig.instance, other)).properties == properties
    assert (properties["character_set"], properties["collation"]) == ("latin2", "latin2_bin")
    await rig.drop(fresh_name, other)


def test_statements_of_others_are_left_alone() -> None:
    output = b"""
CREATE DATABASE x;
\\connect x
ALTER DATABASE y SET a TO b;
COMMENT ON EXTENSION x IS 'ALTER DATABASE x SET a TO b;';
SET SESSION AUTHORIZATION joe;
GRANT ALL ON DATABASE x TO "x";
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION jim;
GRANT ALL ON SCHEMA x TO x;
RESET SESSION AUTHORIZATION;
/* ALTER DATABASE x /* nested */ SET c TO d; */
DO $x$ BEGIN; ALTER DATABASE x SET e TO f; END $x$;
"""
    assert applied(templates(output, "x"), '"new"') == [
        "SET SESSION AUTHORIZATION joe;",
        'GRANT ALL ON DATABASE "new" TO "x";',
        "RESET SESSION AUTHORIZATION;",
    ]
