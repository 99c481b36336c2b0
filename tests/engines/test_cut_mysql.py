"""A table that gets its keys later is the same table in the end, to the letter, on the real servers."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.engines.cut_mysql import TableText, table_text, unquoted
from vya_backupd.testing.servers import PrivateServer

_ODD = "`odd ``,(\n-- /* '`"
_COLUMNS = (
    "a int NOT NULL",
    "b varchar(40) DEFAULT 'x,\\'(;' COMMENT 'KEY `k` (`a`),\\n'",
    "c text",
    "d datetime",
    "g int GENERATED ALWAYS AS (LENGTH(b)) VIRTUAL",
    "p point NOT NULL",
    f"{_ODD} varchar(10)",
    "e enum('a','KEY `x` (`a`)') NOT NULL",
    "CHECK (b <> '),')",
)
_KEYS = (
    "UNIQUE KEY {} (a)",
    "UNIQUE KEY {} (b)",
    "UNIQUE KEY {} (b(5), a)",
    "UNIQUE KEY {} (id, b)",
    "KEY {} (a)",
    "KEY {} (a, b(7))",
    "KEY {} (d) COMMENT 'x), KEY `y` (`z`)'",
    "KEY {} (g)",
    "KEY {} USING BTREE (d, a)",
    f"KEY {{}} ({_ODD})",
    "KEY {} (a, e)",
    "CONSTRAINT {} FOREIGN KEY (a) REFERENCES parent (id) ON DELETE CASCADE",
    "CONSTRAINT {} FOREIGN KEY (d, a) REFERENCES `parent` (at, id)",
)
_TEXT_KEYS = ("FULLTEXT KEY {} (c)", "FULLTEXT KEY {} (b)", "FULLTEXT KEY {} (b, c)", "SPATIAL KEY {} (p)")
_OWN_KEYS = {
    "mariadb": ("KEY {} (a) IGNORED", "UNIQUE KEY {} (c)", "KEY {} (a DESC)"),
    "mysql": ("KEY {} ((LENGTH(b) + 1))", "KEY {} (a) INVISIBLE", "KEY {} (a DESC, b)"),
}
_PARENT = "CREATE TABLE parent (id int PRIMARY KEY, at datetime, KEY (at, id), UNIQUE KEY (at, id));\n"
_SETTINGS = "SET foreign_key_checks = 0, unique_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO';\n"


def _table(chance: random.Random, number: int, kind: str) -> str:
    """A definition that the server takes: any keys in any order."""
    counted, is_parted = chance.choice(("", "id", "a")), chance.random() < 0.2
    keys = [*_KEYS, *_TEXT_KEYS, *_OWN_KEYS[kind]]
    if is_parted:
        keys = [key for key in keys if "(7)" not in key]
        keys = [key for key in keys if key.startswith(("KEY", "UNIQUE KEY {} (id"))]
    chosen = chance.sample(keys, chance.randint(0, min(8, len(keys))))
    chosen += ["KEY {} (a)"] * (counted == "a") + ["UNIQUE KEY {} (id, d)"] * (counted == "id")
    chance.shuffle(chosen)
    named = [key.replace("{}", f"`k{order} of {number}`") for order, key in enumerate(chosen)]
    primary = ["PRIMARY KEY (id)"] if is_parted or chance.random() < 0.7 else []
    count = " AUTO_INCREMENT"
    columns = [f"id int NOT NULL{count * (counted == 'id')}", *_COLUMNS]
    columns[1] += count * (counted == "a")
    columns = [column for column in columns if not (is_parted and column.startswith("p "))]
    parts = chance.choice((" PARTITION BY KEY () PARTITIONS 2", " PARTITION BY HASH (id) PARTITIONS 2"))
    options = "AUTO_INCREMENT=77" if counted else ""
    return f"CREATE TABLE `t {number}` ({', '.join([*columns, *primary, *named])}) {options}{parts * is_parted}"


def _shown(server: PrivateServer, database: str, names: list[str]) -> list[str]:
    return [row[1] for row in server.sql("".join(f"SHOW CREATE TABLE `{name}`;\n" for name in names), database)]


def _segment(name: str, create: str) -> bytes:
    """What a dump tool makes of it."""
    return (
        f"--\n-- Table structure for table `{name}`\n--\n\nDROP TABLE IF EXISTS `{name}`;\n"
        "/*!40101 SET @saved_cs_client     = @@character_set_client */;\n"
        f"/*!50503 SET character_set_client = utf8mb4 */;\n{create};\n"
        "/*!40101 SET character_set_client = @saved_cs_client */;\n\n"
    ).encode()


def test_any_keys_in_any_order_come_back_as_they_were(mysql_family: PrivateServer, fresh_name: str) -> None:
    server, chance = mysql_family, random.Random(20260109)
    names = [f"t {number}" for number in range(25)]
    copy = fresh_name + " copy"
    for database in (fresh_name, copy):
        server.create_database(database, "CHARACTER SET utf8mb4")
        server.sql(_PARENT, database)
    made = [_table(chance, number, server.kind) for number in range(len(names))]
    server.sql(_SETTINGS + ";\n".join(made), fresh_name)
    wanted = _shown(server, fresh_name, names)
    tables = [table_text(_segment(name, create)) for name, create in zip(names, wanted, strict=True)]
    assert all(table is not None for table in tables)
    thinned = [table.thinned() for table in tables if table is not None]
    steps = [each.text for each in thinned]
    steps += [key + b";\n" for each in thinned for key in each.keys]
    steps += [each.foreign + b";\n" for each in thinned if each.foreign]
    server.sql(_SETTINGS + b"".join(steps).decode(), copy)
    assert _shown(server, copy, names) == wanted
    taken = sum(len(table.late) for table in tables if table is not None)
    there = sum(len(re.findall(r"\n  (?:\w+ )?KEY ", create)) for create in wanted)
    assert taken > there / 3
    for database in (copy, fresh_name):
        server.drop_database(database)


def _read(*items: str, options: str = ") ENGINE=InnoDB", name: str = "t") -> TableText | None:
    return table_text(_segment(name, f"CREATE TABLE `{name}` (\n  " + ",\n  ".join(items) + f"\n{options}"))


_ID = "`id` int NOT NULL"
_PRIMARY = "PRIMARY KEY (`id`)"


@pytest.mark.parametrize("options", [") ENGINE=MyISAM", ") ENGINE=InnoDBx", "  never closed"])
def test_other_tables_are_not_read(options: str) -> None:
    assert _read(_ID, _PRIMARY, "KEY `k` (`id`)", options=options) is None


@pytest.mark.parametrize("options", [") ENGINE=InnoDB WITH SYSTEM VERSIONING", ") ENGINE=InnoDB KEY_BLOCK_SIZE=8"])
def test_a_table_with_rules_of_its_own_stays_whole(options: str) -> None:
    table = _read(
        _ID, _PRIMARY, "KEY `k` (`id`)", "CONSTRAINT `f` FOREIGN KEY (`id`) REFERENCES `far` (`id`)", options=options
    )
    assert table is not None
    assert (table.late, table.foreign) == (frozenset(), frozenset())
    assert table.references == {b"`far`"}
    assert table.thinned().text == table.before + b",".join(table.items) + table.after


@pytest.mark.parametrize(
    "key",
    [
        "KEY `k` ((`id` + 1))",
        "UNIQUE KEY `k` (`id`,`valid` WITHOUT OVERLAPS)",
        "UNIQUE KEY `k` (`id`) USING HASH",
        "VECTOR KEY `k` (`v`)",
        "KEY `k` (`id`) SOMETHING NEW",
    ],
)
def test_a_key_that_is_not_known_word_for_word_stays_and_so_do_those_before_it(key: str) -> None:
    table = _read(_ID, _PRIMARY, "KEY `before` (`id`)", key, "KEY `after` (`id`)")
    assert table is not None
    assert table.thinned().keys == (b"ALTER TABLE `t`\n  ADD KEY `after` (`id`)",)


def test_unique_keys_stay_where_they_give_the_rows_their_order() -> None:
    table = _read(_ID, "UNIQUE KEY `u` (`id`)", "KEY `k` (`id`)")
    assert table is not None
    assert table.late == {2}


def test_one_full_text_key_is_made_at_a_time() -> None:
    table = _read(_ID, _PRIMARY, "KEY `k` (`id`)", "FULLTEXT KEY `one` (`a`)", "FULLTEXT KEY `two` (`b`)")
    assert table is not None
    assert table.thinned().keys == (
        b"ALTER TABLE `t`\n  ADD KEY `k` (`id`),\n  ADD FULLTEXT KEY `one` (`a`)",
        b"ALTER TABLE `t`\n  ADD FULLTEXT KEY `two` (`b`)",
    )


def test_foreign_keys_go_alone_where_only_they_are_in_the_way() -> None:
    foreign = "CONSTRAINT `f` FOREIGN KEY (`id`) REFERENCES `far` (`id`) ON DELETE CASCADE"
    table = _read(_ID, _PRIMARY, "KEY `k` (`id`)", foreign)
    assert table is not None
    assert table.references == {b"`far`"}
    thinned = table.thinned(keys=False)
    assert (thinned.keys, thinned.foreign) == ((), f"ALTER TABLE `t`\n  ADD {foreign}".encode())
    assert b"KEY `k` (`id`)\n) ENGINE" in thinned.text


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1, max_size=12)
_STRINGS = st.text(st.sampled_from("a,();`'\"-/*\\\n KEY"), max_size=20)


@given(name=_NAMES, default=_STRINGS, other=_NAMES)
def test_nothing_in_names_and_strings_is_taken_for_a_definition(name: str, default: str, other: str) -> None:
    quoted, text = (each.replace("`", "``") for each in (name, other))
    string = default.replace("\\", "\\\\").replace("'", "''")
    column = f"`{text}` varchar(9) DEFAULT '{string}' COMMENT '{string}'"
    table = _read(_ID, column, _PRIMARY, f"KEY `{text}` (`{text}`)", name=quoted)
    assert table is not None
    assert unquoted(table.name) == name
    assert table.items[1] == f"\n  {column}".encode()
    assert table.late == {3}
    assert table.before + b",".join(table.items) + table.after == _segment(
        quoted,
        f"CREATE TABLE `{quoted}` (\n  "
        + ",\n  ".join(item.decode().strip() for item in table.items)
        + "\n) ENGINE=InnoDB",
    )
