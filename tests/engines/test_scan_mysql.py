"""The text of mysqldump and mariadb-dump, as hostile as it can be, in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines.scan_samples import check_bounds, names, rows_of, scan, units
from vya_backupd.engines.scan_mysql import MysqlScanner
from vya_backupd.engines.scanner import Scanner
from vya_backupd.errors import DumpError
from vya_backupd.model.backup import Section

MARIADB_HEADER = """/*M!999999\\- enable the sandbox mode */\x20
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: n
-- ------------------------------------------------------
-- Server version	10.11.19-MariaDB

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;

"""
MYSQL_HEADER = MARIADB_HEADER.partition("\n")[2].replace(
    "MariaDB dump 10.19  Distrib 10.11.19-MariaDB", "MySQL dump 10.13  Distrib 9.7.4"
)
FOOTER = """/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;

/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;

-- Dump completed on 2026-11-23  5:18:58
"""
HOSTILE = (
    "--",
    "-- ",
    "-- Table structure for table `x`",
    "-- Dumping data for table `x`",
    "-- Dump completed",
    "/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;",
    "/*!50003 SET @saved_cs_client      = @@character_set_client */ ;",
    "INSERT INTO `x` VALUES",
    ");",
    "DELIMITER ;",
    "'",
    '"',
    "`",
    "#",
    "/*",
    "*/",
    "\\",
    "é€",
    "$$",
    "x" * 70,
)
FAKE_HEADING = "\n--\n-- Table structure for table `fake`\n--\n\nDROP TABLE IF EXISTS `fake`;\n"
FAKE_END = "\n/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;\n\n-- Dump completed\n"

fragments = st.lists(st.sampled_from([*HOSTILE, FAKE_HEADING, FAKE_END, "\n", " ", "a", ";"]), max_size=6).map("".join)
values = st.lists(st.sampled_from([*HOSTILE, "\n", "\r\n", ");\nINSERT"]), max_size=4).map("".join)
identifiers = fragments.map(lambda text: text or "t")


def quoted_name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def quoted(value: str) -> str:
    """A value as the tools write it."""
    for raw, safe in (("\\", "\\\\"), ("'", "\\'"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(raw, safe)
    return f"'{value}'"


def heading(text: str) -> str:
    return "--\n-- " + text.replace("\n", "\n-- ") + "\n--\n\n"


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """A routine's body: hostile text in every kind of quote and comment, and no ``;;`` outside of them."""
    body = "BEGIN\n"
    for text in draw(st.lists(fragments, max_size=4)):
        plain = text.replace("*/", "")
        style = draw(st.integers(0, 4))
        if style == 0:
            body += "SELECT '" + text.replace("\\", "\\\\").replace("'", "''") + "';\n"
        elif style == 1:
            body += 'SELECT "' + text.replace("\\", "\\\\").replace('"', '\\"') + '";\n'
        elif style == 2:
            body += "SELECT 1 AS " + quoted_name(text) + ";\n"
        elif style == 3:
            body += f"/* {plain} */ SELECT 1-1;\n"
        else:
            body += "-- " + plain.replace("\n", "\n# ") + "\nSELECT 2;\n"
    return body + "END"


@st.composite
def dumps(draw: st.DrawFn) -> tuple[bytes, dict[str, list[str]]]:
    """A dump in the manner of MariaDB or MySQL, and the rows of its tables."""
    per_line = draw(st.booleans())
    tables = draw(st.dictionaries(identifiers, st.lists(values, max_size=8), max_size=3))
    text = MARIADB_HEADER if per_line else MYSQL_HEADER
    for name, rows in tables.items():
        q = quoted_name(name)
        column = quoted_name(draw(identifiers))
        text += heading(f"Table structure for table {q}") + f"DROP TABLE IF EXISTS {q};\n"
        text += f"CREATE TABLE {q} (\n  {column} text\n) ENGINE=InnoDB COMMENT={quoted(draw(fragments))};\n\n"
        text += heading(f"Dumping data for table {q}")
        listed = draw(st.booleans())
        per_insert = draw(st.integers(1, 4))
        for at in range(0, len(rows), per_insert):
            some = [f"({number},{quoted(row)})" for number, row in enumerate(rows[at : at + per_insert])]
            start = f"INSERT INTO {q} ({column}) VALUES " if listed and not per_line else f"INSERT INTO {q} VALUES"
            gap, comma = ("\n", ",\n") if per_line else ("" if listed else " ", ",")
            text += start + gap + comma.join(some) + ";\n"
        if draw(st.booleans()):
            text += "/*!50003 SET @saved_cs_client      = @@character_set_client */ ;\nDELIMITER ;;\n"
            text += f"/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`%`*/ /*!50003 TRIGGER {q} {draw(bodies())} */;;\n"
            text += "DELIMITER ;\n"
        text += "\n"
    text += heading("Dumping routines for database 'n'")
    for body in draw(st.lists(bodies(), max_size=2)):
        text += "DELIMITER ;;\nCREATE DEFINER=`root`@`localhost` PROCEDURE `p`()\n" + body + " ;;\nDELIMITER ;\n"
    return (text + FOOTER).encode(), tables


@settings(max_examples=200, deadline=None)
@given(dumps(), st.lists(st.integers(1, 120), min_size=1, max_size=5), st.integers(20, 400))
def test_any_chunking_gives_the_same_segments_and_the_same_dump(
    dump: tuple[bytes, dict[str, list[str]]], sizes: list[int], segment_size: int
) -> None:
    text, tables = dump
    whole = MysqlScanner(segment_size)
    piecewise = MysqlScanner(segment_size)
    cuts = scan(whole, text)
    assert scan(piecewise, text, sizes) == cuts
    assert piecewise.summary == whole.summary
    assert b"".join(cut.text for cut in cuts) == text
    assert whole.tables == set(tables)
    assert names(cuts, Section.DATA) == list(tables)
    check_bounds(cuts, segment_size)
    for name, rows in tables.items():
        if text.startswith(b"/*M!") or not rows:
            assert rows_of(cuts, name) == len(rows)
        else:
            assert any(cut.rows is None for cut in cuts if cut.name == name and cut.section is Section.DATA)


@settings(max_examples=80, deadline=None)
@given(dumps(), st.integers(20, 200))
def test_every_unit_of_data_is_whole_statements(dump: tuple[bytes, dict[str, list[str]]], segment_size: int) -> None:
    text, tables = dump
    for name, rows in tables.items():
        found = 0
        insert = f"INSERT INTO {quoted_name(name)} ".encode()
        for unit in units(scan(MysqlScanner(segment_size), text)):
            if unit.section is Section.DATA and unit.name == name:
                _, begun, rest = unit.text.partition(insert)
                assert begun or not rows
                assert not begun or rest.rstrip(b"\n").endswith(b");")
                found += unit.text.count(insert)
        assert bool(found) == bool(rows)


SMALL = (
    MARIADB_HEADER
    + heading("Sequence structure for `s`")
    + "DROP SEQUENCE IF EXISTS `s`;\nCREATE SEQUENCE `s` start with 5 ENGINE=InnoDB;\nDO SETVAL(`s`, 1005, 0);\n\n"
    + heading("Table structure for table `t`")
    + "DROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB AUTO_INCREMENT=3;\n\n"
    + heading("Dumping data for table `t`")
    + "INSERT INTO `t` VALUES\n(1),\n(2);\n"
    + "/*!50003 SET @saved_cs_client      = @@character_set_client */ ;\nDELIMITER ;;\n"
    + "/*!50003 CREATE*/ /*!50003 TRIGGER `g` BEFORE INSERT ON `t` FOR EACH ROW SET @x = 'a;b' */;;\nDELIMITER ;\n\n"
    + heading("Temporary table structure for view `v`")
    + "DROP TABLE IF EXISTS `v`;\n/*!50001 DROP VIEW IF EXISTS `v`*/;\n/*!50001 CREATE VIEW `v` AS SELECT\n NULL */;\n\n"
    + heading("Dumping events for database 'n'")
    + heading("Dumping routines for database 'n'")
    + heading("Final view structure for view `v`")
    + "/*!50001 DROP VIEW IF EXISTS `v`*/;\n/*!50001 CREATE VIEW `v` AS select 1 */;\n"
    + FOOTER
).encode()


def test_sections_and_objects_of_a_small_dump() -> None:
    scanner = MysqlScanner(header_suffix=b"SET x = 1;\n")
    assert isinstance(scanner, Scanner)
    cuts = scan(scanner, SMALL, [1])
    assert [(cut.section, cut.name, cut.rows) for cut in cuts] == [
        (Section.HEADER, "header", None),
        (Section.SCHEMA, "s", None),
        (Section.DATA, "s", None),
        (Section.SCHEMA, "t", None),
        (Section.DATA, "t", 2),
        (Section.POST, "t", None),
        (Section.SCHEMA, "v", None),
        (Section.POST, "events", None),
        (Section.POST, "routines", None),
        (Section.POST, "v", None),
        (Section.FOOTER, "footer", None),
    ]
    assert cuts[0].text == MARIADB_HEADER.encode() + b"SET x = 1;\n"
    assert scanner.tables == {"s", "t"}
    assert (scanner.summary.tables_count, scanner.summary.views_count) == (1, 1)


def test_a_dump_that_ends_early_is_never_whole() -> None:
    for end in range(len(SMALL)):
        with pytest.raises(DumpError) as caught:
            scan(MysqlScanner(100), SMALL[:end])
        assert caught.value.code == "dump_incomplete"


@pytest.mark.parametrize("tail", [b"SELECT 1;\n", b"\x00", b"mysqldump: Error 2013\n", b"\\! id\n", b"a" * 70_000])
def test_nothing_but_blanks_and_comments_follows_the_end_marker(tail: bytes) -> None:
    with pytest.raises(DumpError):
        scan(MysqlScanner(), SMALL + tail)
    assert scan(MysqlScanner(), SMALL + b"\n-- a comment\n \n")


def test_an_empty_database_is_a_whole_dump() -> None:
    scanner = MysqlScanner()
    cuts = scan(scanner, (MYSQL_HEADER + FOOTER).encode(), [5])
    assert [cut.section for cut in cuts] == [Section.HEADER, Section.FOOTER]
    assert scanner.header_done


def test_a_dump_without_dates_ends_in_the_same_marker() -> None:
    assert scan(MysqlScanner(), SMALL.replace(b" on 2026-11-23  5:18:58", b""))


def test_a_statement_larger_than_a_segment_goes_on_in_the_next() -> None:
    text = SMALL.replace(b"(1),\n", b"('" + b"x;" * 5000 + b"'),\n")
    cuts = [cut for cut in scan(MysqlScanner(200), text, [64]) if cut.section is Section.DATA and cut.name == "t"]
    assert max(len(cut.text) for cut in cuts) <= 400
    assert sum(cut.continues for cut in cuts) > 10
    assert sum(cut.rows or 0 for cut in cuts) == 2


@pytest.mark.parametrize(
    ("mode", "body"),
    [
        ("NO_BACKSLASH_ESCAPES", "SELECT '\\'; SELECT 'a''\\'"),
        ("ANSI_QUOTES", "SELECT \"a\\\" FROM t; SELECT 'it\\'s'"),
        ("ANSI_QUOTES,NO_BACKSLASH_ESCAPES", "SELECT \"\\\", '\\'"),
        ("STRICT_TRANS_TABLES", "SELECT '\\'', \"\\\"\""),
    ],
)
def test_quotes_follow_the_sql_mode_of_a_routine(mode: str, body: str) -> None:
    routine = (
        f"/*!50003 SET sql_mode              = '{mode}' */ ;\nDELIMITER ;;\nCREATE PROCEDURE p() BEGIN {body}; END ;;\n"
    )
    routine += "DELIMITER ;\n/*!50003 SET sql_mode              = @saved_sql_mode */ ;\n"
    at = SMALL.index(b"--\n-- Final view")
    scanner = MysqlScanner()
    cuts = scan(scanner, SMALL[:at] + routine.encode() + SMALL[at:])
    assert [cut.name for cut in cuts if cut.section is Section.POST] == ["t", "events", "routines", "v"]
    assert scanner.summary.procedures_count == 1


def test_dollar_quotes_are_quotes_where_mysql_has_them() -> None:
    routine = (
        "DELIMITER ;;\nCREATE FUNCTION f() RETURNS int LANGUAGE JAVASCRIPT AS $js$ return '`\"/* $js$ ;;\nDELIMITER ;\n"
    )
    text = MYSQL_HEADER + heading("Dumping routines for database 'n'") + routine + FOOTER
    assert scan(MysqlScanner(), text.encode(), [7])[-1].section is Section.FOOTER
    with pytest.raises(DumpError):
        scan(MysqlScanner(), text.replace("Distrib 9.7.4", "Distrib 8.0.44").encode())


def test_a_body_that_ends_in_a_comment_does_not_hide_the_rest() -> None:
    routine = "DELIMITER ;;\nCREATE PROCEDURE p() SELECT 1 -- one ;;\nDELIMITER ;\n"
    at = SMALL.index(b"--\n-- Final view")
    cuts = scan(MysqlScanner(), SMALL[:at] + routine.encode() + SMALL[at:], [9])
    assert [cut.name for cut in cuts if cut.section is Section.POST] == ["t", "events", "routines", "v"]


def digest(text: bytes, sizes: tuple[int, ...] = (1 << 20,)) -> str | None:
    scanner = MysqlScanner(50)
    scan(scanner, text, sizes)
    return scanner.summary.schema_hash


def test_the_digest_follows_the_schema_and_nothing_else() -> None:
    plain = digest(SMALL)
    assert digest(SMALL, (1, 3)) == plain
    assert digest(SMALL.replace(b"AUTO_INCREMENT=3", b"AUTO_INCREMENT=4711")) == plain
    assert digest(SMALL.replace(b" AUTO_INCREMENT=3", b"")) == plain
    assert digest(SMALL.replace(b"(1),\n(2)", b"(7)").replace(b"1005", b"2005").replace(b"2026", b"2027")) == plain
    assert digest(SMALL.replace(b"=InnoDB AUTO", b"=InnoDB COMMENT='AUTO_INCREMENT=5' AUTO")) != plain
    assert digest(SMALL.replace(b"`a` int", b"`a` bigint")) != plain
    assert digest(SMALL.replace(b"'a;b'", b"'a;c'")) != plain
    scanner = MysqlScanner(want_hash=False)
    scan(scanner, SMALL)
    assert scanner.summary.schema_hash is None


def test_a_comment_of_a_table_is_part_of_its_schema() -> None:
    base = SMALL.replace(b"=InnoDB AUTO", b"=InnoDB COMMENT='AUTO_INCREMENT=5' AUTO")
    assert digest(base) != digest(base.replace(b"INCREMENT=5", b"INCREMENT=6"))


def without_rows(text: bytes) -> bytes:
    """What ``--no-data`` gives for ``SMALL``: the triggers follow the definition, with one blank line less."""
    start = text.index(b"\n--\n-- Dumping data for table `t`")
    return text[:start] + text[text.index(b"/*!50003 SET @saved") :]


def test_triggers_may_follow_a_definition_without_rows() -> None:
    cuts = scan(MysqlScanner(), without_rows(SMALL), [1])
    assert [(cut.section, cut.name) for cut in cuts if cut.name == "t"] == [(Section.SCHEMA, "t"), (Section.POST, "t")]
    assert digest(without_rows(SMALL)) == digest(SMALL)
    assert digest(without_rows(SMALL).replace(b"'a;b'", b"'a;c'")) != digest(SMALL)


def test_triggers_without_rows_lose_the_name_of_the_database_in_their_heads_alone() -> None:
    head = b"TRIGGER `n`.`g` BEFORE INSERT ON `n`.`t` FOR EACH ROW SET @x = (SELECT a FROM `n`.`t`) */"
    text = without_rows(SMALL).replace(b"TRIGGER `g` BEFORE INSERT ON `t` FOR EACH ROW SET @x = 'a;b' */", head)
    cuts = scan(MysqlScanner(database="n"), text, [3])
    (post,) = [cut.text for cut in cuts if cut.section is Section.POST and cut.name == "t"]
    assert b"TRIGGER `g` BEFORE INSERT ON `t` FOR EACH ROW SET @x = (SELECT a FROM `n`.`t`) */" in post


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(identifiers, st.lists(values, max_size=4), max_size=4),
    st.lists(st.integers(1, 120), min_size=1, max_size=5),
    st.integers(20, 400),
)
def test_rows_alone_are_named_by_their_headings(tables: dict[str, list[str]], sizes: list[int], segment: int) -> None:
    text = MYSQL_HEADER
    for name, rows in tables.items():
        text += heading(f"Dumping data for table {quoted_name(name)}").removesuffix("\n") + "-- WHERE:  `id` >= 5\n\n"
        text += "".join(f"INSERT INTO {quoted_name(name)} VALUES ({quoted(row)});\n" for row in rows)
    scanner = MysqlScanner(segment, want_hash=False, rows_only=True)
    cuts = scan(scanner, (text + FOOTER).encode(), sizes)
    assert b"".join(cut.text for cut in cuts).decode() == text + FOOTER
    assert names(cuts, Section.DATA) == list(tables)
    assert scanner.tables == set(tables)
    for name, rows in tables.items():
        texts = b"".join(cut.text for cut in cuts if cut.section is Section.DATA and cut.name == name)
        assert texts.count(f"INSERT INTO {quoted_name(name)} ".encode()) >= len(rows)
