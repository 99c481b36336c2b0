"""Cutting pg_dump's text into entries: nothing lost, nothing torn, and each entry known for what it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.engines.cut_postgresql import Dialect, cut_entries, settings_behind, statements
from vya_backupd.engines.kinds_postgresql import EntryKind

PLAIN = Dialect()


def _heading(name: str = "x") -> bytes:
    return f"--\n-- Name: {name}; Type: X; Schema: public; Owner: o\n--\n\n".encode()


def _split(text: bytes, dialect: Dialect = PLAIN) -> list[bytes]:
    return [text[start:end] for start, end in statements(text, dialect)]


STATEMENTS = (
    b"SELECT 1;",
    b"SELECT ';', \"a;b\", E'\\';', $$;$$, $x$ $$;$$ $x$;",
    b"CREATE RULE r AS\n    ON INSERT TO t DO ( SELECT 1;\n SELECT 2);",
    b"CREATE FUNCTION f() RETURNS int\n    LANGUAGE sql\n    BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n SELECT 2;\nEND;",
    b"CREATE OR REPLACE PROCEDURE p()\n    LANGUAGE sql\n    BEGIN ATOMIC\nEND;",
    b"COMMENT ON TABLE t IS '\n--\n-- Name: y; Type: TABLE; Schema: public; Owner: o\n--\n\n;';",
    b"BEGIN;",
    b"COMMIT;",
)


@given(st.lists(st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=4), max_size=5))
def test_statements_are_found_as_they_were_written(entries: list[list[bytes]]) -> None:
    text = b"\n\n".join(_heading() + b"\n\n".join(entry) for entry in entries)
    assert _split(text) == [statement for entry in entries for statement in entry]
    assert [list(entry.statements) for entry in cut_entries(text, PLAIN)] == entries


def test_plain_escapes_where_the_header_says_so() -> None:
    header = b"SET client_encoding = 'LATIN1';\nSET standard_conforming_strings = off;\n"
    dialect = Dialect.of(header)
    assert dialect.plain(b'"caf\xe9".t') == "café.t"
    assert _split(b"SELECT 'a\\';b';SELECT 2;", dialect) == [b"SELECT 'a\\';b';", b"SELECT 2;"]


def test_settings_between_entries_hold_for_those_behind_them() -> None:
    text = b"SET default_tablespace = a;\n\n" + b"\n\n".join(
        (_heading() + b"SELECT 1;", b"SET default_tablespace = b;", _heading() + b"SELECT 2;", b"SET other = 1;")
    )
    first, second = cut_entries(text, PLAIN, (b"SET default_table_access_method = heap;",))
    assert first.settings == (b"SET default_table_access_method = heap;", b"SET default_tablespace = a;")
    assert second.settings == (b"SET default_table_access_method = heap;", b"SET default_tablespace = b;")
    assert first.text == _heading() + b"SELECT 1;\n"
    assert second.alone.startswith(b"SET default_table_access_method = heap;\nSET default_tablespace = b;\n--\n")


def test_a_heading_within_a_statement_is_a_comment_of_it() -> None:
    first = b"CREATE FUNCTION f() RETURNS int AS 'x'\n" + _heading() + b"LANGUAGE sql;"
    entries = cut_entries(_heading() + first + b"\n\n" + _heading() + b"SELECT 2;\n", PLAIN)
    assert [entry.statements for entry in entries] == [(first,), (b"SELECT 2;",)]
    assert [entry.text for entry in entries] == [_heading() + first + b"\n", _heading() + b"SELECT 2;\n"]


def test_settings_behind_rows() -> None:
    rows = b"COPY t (a) FROM stdin;\nSET default_tablespace = no;\n\\.\n\n\nSET default_tablespace = yes;\n\n"
    assert settings_behind(rows[:-1] + b"';\n\n") == []
    assert settings_behind(rows) == [b"SET default_tablespace = yes;"]


@pytest.mark.parametrize(
    ("statement", "kind", "table", "name"),
    [
        ("CREATE UNLOGGED TABLE public.t (\n    a integer\n);", EntryKind.TABLE, "public.t", "public.t"),
        ("ALTER TABLE ONLY s.p ATTACH PARTITION s.c DEFAULT;", EntryKind.PARTITION, "s.c", "s.c"),
        ('CREATE INDEX "i; x" ON ONLY "o ""d"".t" USING gin (a);', EntryKind.INDEX, 'o "d".t', "i; x"),
        ("CREATE UNIQUE INDEX i ON s.t USING btree (a);", EntryKind.INDEX, "s.t", "s.i"),
        ("ALTER TABLE ONLY s.t\n    ADD CONSTRAINT k PRIMARY KEY (a);", EntryKind.KEY, "s.t", "k"),
        ("ALTER TABLE ONLY s.t\n    ADD CONSTRAINT k EXCLUDE USING gist (a WITH =);", EntryKind.KEY, "s.t", "k"),
        ("ALTER TABLE s.t\n    ADD CONSTRAINT k CHECK ((a > 0)) NOT VALID;", EntryKind.CHECK, "s.t", "k"),
        ("ALTER INDEX s.i ATTACH PARTITION s.j;", EntryKind.INDEX_PARTITION, None, "s.j"),
        ("ALTER SEQUENCE s.q OWNED BY s.t.c;", EntryKind.OWNED_SEQUENCE, "s.t", "s.q"),
        ("COMMENT ON COLUMN s.t.c IS 'x';", EntryKind.COMMENT, "s.t", "c"),
        ("COMMENT ON INDEX s.i IS 'x';", EntryKind.COMMENT, None, "s.i"),
        ("COMMENT ON CONSTRAINT k ON DOMAIN s.d IS 'x';", EntryKind.COMMENT, None, ""),
        ("CREATE TRIGGER g BEFORE INSERT OR UPDATE OF a, b ON s.t FOR EACH ROW;", EntryKind.TRIGGER, "s.t", "g"),
        ("GRANT SELECT(a),UPDATE(b) ON TABLE s.t TO r;", EntryKind.ACL, "s.t", "s.t"),
        ("GRANT ALL ON FUNCTION s.f() TO r;", EntryKind.ACL, None, ""),
        ("REFRESH MATERIALIZED VIEW s.v;", EntryKind.REFRESH, None, "s.v"),
        ("CREATE STATISTICS s.x (dependencies) ON a, b FROM s.t;", EntryKind.STATISTICS, "s.t", "s.x"),
        ("CREATE FUNCTION s.f() RETURNS integer;", EntryKind.OTHER, None, ""),
    ],
)
def test_what_an_entry_is(statement: str, kind: EntryKind, table: str | None, name: str) -> None:
    (entry,) = cut_entries(_heading("x; Type: INDEX; Schema: y") + statement.encode() + b"\n\n", PLAIN)
    assert (entry.kind, entry.table, entry.name) == (kind, table, name)


def test_a_foreign_key_names_both_tables() -> None:
    text = b'ALTER TABLE ONLY s.t\n    ADD CONSTRAINT f FOREIGN KEY (a, "b)") REFERENCES s.other(c, d) ON DELETE CASCADE;\n'
    (entry,) = cut_entries(_heading() + text, PLAIN)
    assert (entry.kind, entry.table, entry.references) == (EntryKind.FOREIGN_KEY, "s.t", "s.other")
