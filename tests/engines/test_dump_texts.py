r"""The text of a dump, changed on its way back: definers and statements, in pieces of any size.

The dumps here are put together from parts that are to change and parts that must not, whatever they look like.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.engines.mysql_definer_text import DefinerText, definers_in, replaced_by, stripped
from vya_backupd.engines.mysql_foreign import ForeignText
from vya_backupd.engines.postgresql_statement_text import StatementText, Unwanted, needs_of
from vya_backupd.model.backup import Section
from vya_backupd.pipeline.restore import Fitting

_ODD = st.text(alphabet=st.sampled_from("aZ'\"`\\;\n-#/*!$@ ()%é"), max_size=12)
_LURE = st.sampled_from(
    [
        "CREATE DEFINER=`x`@`y` VIEW v AS SELECT 1;\n",
        "\n/*!50013 DEFINER=`x`@`y` SQL SECURITY DEFINER */\n",
        "\nDELIMITER ;;\n",
        "\nALTER TABLE x OWNER TO lure;\n",
        "\n\\.\nGRANT ALL ON TABLE x TO lure;\n",
        "COPY x (a) FROM stdin;\n",
        "$$;\n",
    ]
)
_TEXT = st.lists(_ODD | _LURE, max_size=4).map("".join)
_Part = tuple[str, str]
"""A part of a dump, and what becomes of it."""


def _pieces(text: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def _changed(fitting: Fitting, pieces: Iterable[bytes]) -> bytes:
    return b"".join([*(fitting.feed(piece) for piece in pieces), fitting.finish()])


def _mysql_string(text: str) -> str:
    for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n")):
        text = text.replace(plain, escaped)
    return f"'{text}'"


def _mysql_name(text: str) -> str:
    return "`" + (text or "u").replace("`", "``") + "`"


def _defined(head: str, tail: str) -> Callable[[tuple[str, str]], _Part]:
    def part(drawn: tuple[str, str]) -> _Part:
        account, body = drawn
        definer, body = f"DEFINER={_mysql_name(account)}@`%`", body.replace(";;", "").replace("*/", "")
        return head.format(definer) + tail.format(body), head.format("DEFINER=`new`@`h`") + tail.format(body)

    return part


def _same(make: Callable[[str], str]) -> Callable[[str], _Part]:
    return lambda text: (make(text), make(text))


_ACCOUNT = st.text(alphabet="ab`@'\" é;", max_size=6)
_ROUTINE = "CREATE {} PROCEDURE `p`()\nBEGIN SELECT "
_MYSQL = st.lists(
    st.one_of(
        _TEXT.map(_same(lambda text: f"INSERT INTO `t` VALUES (1,{_mysql_string(text)}),(-2,'');\n")),
        _TEXT.map(_same(lambda text: f"CREATE TABLE `t` (`a` int COMMENT {_mysql_string(text)});\n")),
        _TEXT.map(_same(lambda text: "-- " + text.replace("\n", " ") + "\n")),
        st.tuples(_ACCOUNT, _TEXT.map(_mysql_string)).map(
            _defined("/*!50001 CREATE ALGORITHM=MERGE */\n/*!50013 {} SQL SECURITY DEFINER */\n", "/*!50001 VIEW `v` AS select {} */;\n")
        ),
        st.tuples(_ACCOUNT, _TEXT.map(_mysql_string)).map(
            _defined("DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 {}*/ ", "/*!50003 TRIGGER `g` BEFORE INSERT ON `t` FOR EACH ROW SET @a={}; */;;\nDELIMITER ;\n")
        ),
        st.tuples(_ACCOUNT, _TEXT.map(_mysql_string)).map(
            _defined("DELIMITER ;;\n" + _ROUTINE, "{};\nCREATE DEFINER=`body`@`%` VIEW z AS SELECT 1;\nEND ;;\nDELIMITER ;\n")
        ),
    ),
    max_size=6,
)  # fmt: skip


@given(_MYSQL, st.lists(st.integers(0, 5000), max_size=8))
def test_definers_change_and_nothing_else(parts: list[_Part], cuts: list[int]) -> None:
    text, wanted = ("".join(each).encode() for each in zip(*parts, strict=True)) if parts else (b"", b"")
    assert _changed(DefinerText(replaced_by(("new", "h"))), _pieces(text, cuts)) == wanted
    assert definers_in(wanted) <= {("new", "h")}


def test_every_way_of_writing_a_definer() -> None:
    heads = [
        "CREATE DEFINER=`a`@`b` VIEW v AS SELECT 1;",
        "create or replace algorithm = merge definer = 'a'@'b' sql security definer view v as select 1;",
        'CREATE DEFINER="a"@"b" FUNCTION f() RETURNS int RETURN 1;',
        "CREATE DEFINER=a@b AGGREGATE FUNCTION f() RETURNS int RETURN 1;",
        "/*!50106 CREATE*/ /*!50117 DEFINER=`a`@`b`*/ /*!50106 EVENT e DO SELECT 1 */;",
        "CREATE OR REPLACE DEFINER=`a`@`b` PACKAGE p AS x int; END;",
    ]
    for head in heads:
        assert definers_in(head.encode()) == {("a", "b")}, head
        bare = _changed(DefinerText(stripped), [head.encode()])
        assert b"efiner=" not in bare.lower()
        assert b"a" + b"@" not in bare
    assert definers_in(b"CREATE DEFINER=`role` FUNCTION f() RETURNS int RETURN 1;") == {("role", "")}


def test_other_sections_are_not_looked_at() -> None:
    fitting, lure = DefinerText(stripped), b"CREATE DEFINER=`a`@`b` VIEW v AS SELECT 1;\n"
    assert [fitting.feed(lure, section) for section in (Section.HEADER, Section.SCHEMA, Section.DATA)] == [lure] * 3


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_what_makes_a_replica_is_left_out_of_a_foreign_dump(cuts: list[int]) -> None:
    """A row, whose line breaks are escaped, cannot look like it."""
    lines = [
        "/*M!999999\\- enable the sandbox mode */ \n-- MySQL dump 10.13  Distrib 9.7.0",
        "SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;",
        "SET @@SESSION.SQL_LOG_BIN= 0;",
        "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'a-b:1-5,\nc-d:1-7';",
        "INSERT INTO `t` VALUES ('\\nSET @@SESSION.SQL_LOG_BIN= 0;\\nSET @@GLOBAL.GTID_PURGED=1;\\n');",
        "CREATE TABLE `t` (`a` text);",
        "STOP ALL SLAVES;",
        "CHANGE MASTER 'x' TO MASTER_LOG_FILE='b.1', MASTER_LOG_POS=4;",
        "-- CHANGE MASTER TO MASTER_LOG_FILE='b.1', MASTER_LOG_POS=4;",
        "/*!80000 CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='b;1' */;",
        "SET GLOBAL gtid_slave_pos='0-1-2';",
        "DELIMITER ;;",
        "CREATE DEFINER=CURRENT_USER PROCEDURE p() BEGIN",
        "STOP SLAVE;",
        "CHANGE MASTER TO MASTER_LOG_POS=4; END ;;",
        "DELIMITER ;",
        "START SLAVE;",
        "SET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN;",
    ]
    lines[1:1] = ["STOP SLAVE;"]
    gone = {1, 3, 4, 7, 8, 10, 11, 17, 18}
    text = "\n".join(lines).encode() + b"\n"
    wanted = "\n".join("" if at in gone else line for at, line in enumerate(lines)).encode() + b"\n"
    fitting = ForeignText(None)
    assert _changed(fitting, _pieces(text, cuts)) == wanted
    (note,) = fitting.notes
    words = (
        "GTID_PURGED",
        "STOP ALL SLAVES",
        "CHANGE MASTER",
        "CHANGE REPLICATION SOURCE",
        "GTID_SLAVE_POS",
        "START SLAVE",
    )
    assert [each for each in words if each not in note] == []
    assert "MASTER_LOG" not in note


def _sql_string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _rows(text: str) -> str:
    row = text.replace("\\", "\\\\").replace("\n", "\\n")
    return f"COPY public.t (a) FROM stdin;\n{row}\n\\N\n\\.\n\n"


_UNWANTED = (
    'ALTER FUNCTION public.f("a;b" integer) OWNER TO "Some ""One";',
    "GRANT SELECT(a) ON TABLE public.t TO PUBLIC;",
    "ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA public GRANT SELECT ON TABLES TO b;",
    "SET default_tablespace = fast;",
    "CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;",
    "COMMENT ON EXTENSION hstore IS 'sets; of pairs';",
    "SET SESSION AUTHORIZATION a;",
)
_POSTGRESQL = st.lists(
    st.one_of(
        _TEXT.map(_same(_rows)),
        _TEXT.map(_same(lambda text: f"COMMENT ON TABLE t IS {_sql_string(text)};\n")),
        _TEXT.map(_same(lambda text: f"CREATE FUNCTION f() AS $_$\n{text.replace('$', '')}$_$;\n")),
        _TEXT.map(_same(lambda text: "-- " + text.replace("\n", " ") + "\n")),
        st.just(("CREATE FUNCTION g() BEGIN ATOMIC\n SELECT 1;\n SELECT CASE WHEN true THEN 2 END;\nEND;\n",) * 2),
        st.just(("\\restrict abc\nCREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;\n",) * 2),
        st.sampled_from(_UNWANTED).map(lambda statement: (statement + "\n", "\n")),
    ),
    max_size=8,
)
_ALL = Unwanted(owner=True, privileges=True, tablespaces=True, extensions=frozenset({"hstore"}))


@given(_POSTGRESQL, st.lists(st.integers(0, 5000), max_size=8))
def test_unwanted_statements_go_and_nothing_else(parts: list[_Part], cuts: list[int]) -> None:
    text, wanted = ("".join(each).encode() for each in zip(*parts, strict=True)) if parts else (b"", b"")
    text, wanted = b"-- a dump\n" + text, b"-- a dump\n" + wanted
    assert _changed(StatementText(_ALL), _pieces(text, cuts)) == wanted
    assert _changed(StatementText(Unwanted()), _pieces(text, cuts)) == text
    assert "lure" not in needs_of([text], Unwanted()).roles


def test_a_statement_longer_than_any_that_matters_is_passed_on() -> None:
    body = b"SELECT 'x' || '" + b"y" * 300_000 + b"';\n"
    text = b"CREATE FUNCTION f() BEGIN ATOMIC\n" + body + b"END;\nALTER FUNCTION f() OWNER TO a;\nSELECT 1;\n"
    pieces = [text[at : at + 10_000] for at in range(0, len(text), 10_000)]
    assert _changed(StatementText(_ALL), pieces) == text.replace(b"ALTER FUNCTION f() OWNER TO a;", b"")


def test_rows_end_at_line_breaks_of_windows_too() -> None:
    text = b"COPY public.t (a) FROM stdin;\r\n1\r\n\\.\r\nALTER TABLE public.t OWNER TO a;\r\n"
    for cut in range(len(text)):
        changed = _changed(StatementText(_ALL), _pieces(text, [cut]))
        assert changed == text.replace(b"ALTER TABLE public.t OWNER TO a;", b"")


def test_what_a_dump_needs() -> None:
    text = b"""
CREATE POLICY p ON public.t AS RESTRICTIVE FOR SELECT TO alice, "B c" USING ((a > 0));
GRANT SELECT("x TO z") ON TABLE public.t TO carol WITH GRANT OPTION GRANTED BY dave;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE fred IN SCHEMA public GRANT SELECT ON TABLES TO gina;
CREATE USER MAPPING FOR hal SERVER s OPTIONS ("user" 'x');
ALTER ROLE ida IN DATABASE d SET work_mem TO '1MB';
ALTER TABLE public.t OWNER TO "J""k";
SET default_tablespace = '';
SET default_tablespace = "Fast one";
CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;
"""
    needs = needs_of([text], Unwanted())
    assert needs.roles == {"alice", "B c", "carol", "dave", "fred", "gina", "hal", "ida", 'J"k'}
    assert needs.tablespaces == {"Fast one"}
    assert needs.extensions == {"uuid-ossp"}
    lighter = needs_of([text], Unwanted(owner=True, privileges=True, tablespaces=True))
    assert lighter.roles == {"alice", "B c", "hal", "ida"}
    assert not lighter.tablespaces
