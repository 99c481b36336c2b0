"""pg_dump's text, as hostile as it can be, in pieces of any size."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines.scan_samples import Cut, check_bounds, names, rows_of, scan, units
from vya_backupd.engines.scan_postgresql import PostgresqlGlobalsScanner, PostgresqlScanner
from vya_backupd.engines.scanner import Scanner
from vya_backupd.errors import DumpError
from vya_backupd.model.backup import Section

HEADER = b"""--
-- PostgreSQL database dump
--

\\restrict T0k3n

-- Dumped from database version 18.6
-- Dumped by pg_dump version 18.6

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

"""
FOOTER = b"""--
-- PostgreSQL database dump complete
--

\\unrestrict T0k3n

"""
HOSTILE = (
    "--",
    "-- ",
    "-- Name: x; Type: TABLE; Schema: public; Owner: o",
    "-- Data for Name: x; Type: TABLE DATA; Schema: public; Owner: o",
    "COPY public.x (a) FROM stdin;",
    "\\.",
    "-- PostgreSQL database dump complete",
    "\\unrestrict T0k3n",
    "\\unrestrict other",
    "$$",
    "$fn$",
    "'",
    '"',
    "/*",
    "*/",
    ";",
    "\\",
    "E'",
    "é€",
    "",
    "x" * 90,
)
FAKE_HEADING = "\n--\n-- Name: fake; Type: TABLE; Schema: public; Owner: o\n--\n\nCREATE TABLE public.fake (a int);\n"
FAKE_END = "\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict other\n"

fragments = st.lists(st.sampled_from([*HOSTILE, FAKE_HEADING, FAKE_END, "\n", " ", "a"]), max_size=6).map("".join)
values = st.lists(st.sampled_from([*HOSTILE, "\n", "\t"]), max_size=4).map("".join)
identifiers = fragments.map(lambda text: text or "t")


def quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def escaped(value: str) -> str:
    """A value as COPY's text format writes it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def heading(name: str, kind: str, prefix: str = "") -> str:
    shown = name.replace("\n", " ")
    return f"--\n-- {prefix}Name: {shown}; Type: {kind}; Schema: public; Owner: o\n--\n\n"


def literal(text: str, style: int) -> str:
    if style == 0:
        return "'" + text.replace("'", "''") + "'"
    if style == 1:
        return " E'" + text.replace("\\", "\\\\").replace("'", "''" if len(text) % 2 else "\\'") + "'"
    return f"$tag${text}$tag$"


@st.composite
def dumps(draw: st.DrawFn) -> tuple[bytes, dict[str, tuple[bytes, list[str]]]]:
    """A dump, and the COPY line and rows of its tables by the tables' names."""
    tables = draw(st.dictionaries(identifiers, st.lists(values, max_size=8), max_size=3))
    text = ""
    for name in tables:
        text += heading(name, "TABLE") + f"CREATE TABLE public.{quoted_name(name)} (\n    a text\n);\n\n\n"
    for body in draw(st.lists(fragments, max_size=3)):
        style = draw(st.integers(0, 2))
        text += heading(body, "FUNCTION") + "CREATE FUNCTION public.f() RETURNS text\n    LANGUAGE sql\n    AS "
        text += literal(body, style) + f";\n\n/* c {body.count('a')} /* nested */ ' */\n\n"
    known: dict[str, tuple[bytes, list[str]]] = {}
    for name, rows in tables.items():
        copy = f"COPY public.{quoted_name(name)} ({quoted_name(draw(identifiers))}) FROM stdin;\n"
        known[f"public.{name}"] = (copy.encode(), rows)
        text += heading(name, "TABLE DATA", "Data for ") + copy
        text += "".join(escaped(row) + "\n" for row in rows) + "\\.\n\n\n"
    if draw(st.booleans()):
        text += heading("s", "SEQUENCE SET") + "SELECT pg_catalog.setval('public.s', 30, true);\n\n\n"
    for body in draw(st.lists(fragments, max_size=2)):
        text += heading(body, "COMMENT") + f"COMMENT ON TABLE public.t IS {literal(body, 0)};\n\n\n"
    return HEADER + text.encode() + FOOTER, known


def original(cuts: list[Cut], tables: dict[str, tuple[bytes, list[str]]]) -> bytes:
    """The dump as it was before COPY blocks were closed and opened again."""
    text = b""
    last: Cut | None = None
    for cut in cuts:
        add = cut.text
        if last is not None and cut.name in tables and (last.section, last.name) == (cut.section, cut.name):
            copy = tables[cut.name][0]
            if not cut.continued and add.startswith(copy):
                assert text.endswith(b"\n\\.\n")
                text, add = text[:-3], add[len(copy) :]
        text += add
        last = cut
    return text


@settings(max_examples=150, deadline=None)
@given(dumps(), st.lists(st.integers(1, 120), min_size=1, max_size=5), st.integers(30, 400))
def test_any_chunking_gives_the_same_segments_and_the_same_dump(
    dump: tuple[bytes, dict[str, tuple[bytes, list[str]]]], sizes: list[int], segment_size: int
) -> None:
    text, tables = dump
    whole = PostgresqlScanner(segment_size)
    piecewise = PostgresqlScanner(segment_size)
    cuts = scan(whole, text)
    assert scan(piecewise, text, sizes) == cuts
    assert piecewise.summary == whole.summary
    assert original(cuts, tables) == text
    assert whole.tables == set(tables)
    assert whole.summary.tables_count == len(tables)
    check_bounds(cuts, segment_size, slack=max((len(copy) + 3 for copy, _ in tables.values()), default=0))
    for name, (_, rows) in tables.items():
        assert rows_of(cuts, name) == len(rows)


@settings(max_examples=80, deadline=None)
@given(dumps(), st.integers(30, 200))
def test_every_unit_of_data_stands_alone(
    dump: tuple[bytes, dict[str, tuple[bytes, list[str]]]], segment_size: int
) -> None:
    text, tables = dump
    found: dict[str, list[str]] = {name: [] for name in tables}
    for unit in units(scan(PostgresqlScanner(segment_size), text)):
        if unit.section is Section.DATA and unit.name != "sequences":
            _, copy, block = unit.text.partition(tables[unit.name][0])
            assert copy
            assert block.rstrip(b"\n").endswith(b"\\.")
            rows = block[: block.rindex(b"\\.\n")].decode().split("\n")[:-1]
            found[unit.name] += rows
            assert unit.rows == len(rows)
    assert found == {name: [escaped(row) for row in rows] for name, (_, rows) in tables.items()}


SMALL = (
    HEADER
    + (
        heading("t", "TABLE")
        + "CREATE TABLE public.t (a text);\n\n\n"
        + heading("t", "TABLE DATA", "Data for ")
        + "COPY public.t (a) FROM stdin;\n1\n2\n\\.\n\n\n"
        + heading("t_idx", "INDEX")
        + "CREATE INDEX t_idx ON public.t (a);\n\n\n"
    ).encode()
    + FOOTER
)


def test_a_dump_that_ends_early_is_never_whole() -> None:
    complete = len(SMALL.rstrip())
    for end in range(complete):
        with pytest.raises(DumpError) as caught:
            scan(PostgresqlScanner(100), SMALL[:end])
        assert caught.value.code == "dump_incomplete"
    assert scan(PostgresqlScanner(100), SMALL[:complete])


@pytest.mark.parametrize(
    "tail", [b"SELECT 1;\n", b"\x00", b"pg_dump: warning\n", b"\\unrestrict other\n", b"a" * 70_000]
)
def test_nothing_but_blanks_and_comments_follows_the_end_marker(tail: bytes) -> None:
    with pytest.raises(DumpError):
        scan(PostgresqlScanner(), SMALL + tail)
    assert scan(PostgresqlScanner(), SMALL + b"\n-- a comment\n \n")


def test_a_dump_of_an_older_tool_has_no_tokens() -> None:
    old = re.sub(rb"\\(un)?restrict T0k3n\n", b"", SMALL)
    assert b"".join(cut.text for cut in scan(PostgresqlScanner(), old)) == old


def test_sections_and_objects_of_a_small_dump() -> None:
    scanner = PostgresqlScanner(header_suffix=b"SET x = 1;\n")
    assert isinstance(scanner, Scanner)
    cuts = scan(scanner, SMALL, [1])
    assert [(cut.section, cut.name) for cut in cuts] == [
        (Section.HEADER, "header"),
        (Section.SCHEMA, "schema"),
        (Section.DATA, "public.t"),
        (Section.POST, "post"),
        (Section.FOOTER, "footer"),
    ]
    assert cuts[0].text == HEADER + b"SET x = 1;\n"
    assert cuts[2].rows == 2


def test_the_header_is_done_when_the_first_object_begins() -> None:
    scanner = PostgresqlScanner()
    assert scanner.feed(HEADER) == []
    assert not scanner.header_done
    scanner.feed(SMALL[len(HEADER) :])
    scanner.finish()
    assert scanner.header_done


def test_without_data_post_begins_at_the_first_index() -> None:
    text = HEADER + (heading("i", "INDEX") + "CREATE UNIQUE INDEX i ON public.t (a);\n\n\n").encode() + FOOTER
    assert names(scan(PostgresqlScanner(), text), Section.POST) == ["post"]


def test_an_empty_database_is_a_whole_dump() -> None:
    cuts = scan(PostgresqlScanner(), HEADER + FOOTER)
    assert [cut.section for cut in cuts] == [Section.HEADER, Section.FOOTER]


def test_a_row_larger_than_a_segment_goes_on_in_the_next() -> None:
    rows = b"short\n" + b"x" * 5000 + b"\n" + b"short\n" * 40
    text = SMALL.replace(b"1\n2\n", rows)
    cuts = [cut for cut in scan(PostgresqlScanner(200), text, [64]) if cut.section is Section.DATA]
    assert max(len(cut.text) for cut in cuts) <= 400
    assert sum(cut.continues for cut in cuts) > 10
    assert sum(cut.rows or 0 for cut in cuts) == 42
    assert all(b"\\.\n" not in cut.text for cut in cuts if cut.continues)


def test_old_servers_write_backslashes_twice_in_plain_quotes() -> None:
    body = "CREATE FUNCTION public.f() RETURNS text AS 'it\\\\''s\\\\' LANGUAGE sql;\n\n\n"
    text = HEADER.replace(b"strings = on", b"strings = off") + (heading("f", "FUNCTION") + body).encode() + FOOTER
    assert scan(PostgresqlScanner(), text)[-1].section is Section.FOOTER


def test_names_are_read_in_the_encoding_of_the_dump() -> None:
    scanner = PostgresqlScanner()
    text = SMALL.replace(b"'UTF8'", b"'LATIN1'").replace(b"public.t ", '"\xe4".t '.encode("latin-1"))
    scan(scanner, text)
    assert scanner.tables == {"ä.t"}


def test_large_objects_are_one_unit() -> None:
    write = "SELECT pg_catalog.lowrite(0, '\\x" + "00ff" * 100 + "');\n"
    text = heading("1..2", "BLOB METADATA") + "SELECT pg_catalog.lo_create('1');\nSELECT pg_catalog.lo_create('2');\n\n"
    text += heading("LARGE OBJECT 1", "COMMENT") + "COMMENT ON LARGE OBJECT 1 IS 'x';\n\n\n"
    for number in (1, 2):
        text += heading(str(number), "BLOBS", "Data for ") + "BEGIN;\n\n"
        text += f"SELECT pg_catalog.lo_open('{number}', 131072);\n" + write * 9
        text += "SELECT pg_catalog.lo_close(0);\n\nCOMMIT;\n\n"
    dump = SMALL.replace(b"--\n-- Name: t_idx", text.encode() + b"--\n-- Name: t_idx")
    cuts = scan(PostgresqlScanner(300), dump, [50])
    assert b"".join(cut.text for cut in cuts) == dump
    [unit] = [unit for unit in units(cuts) if unit.name == "large objects"]
    assert unit.text == text.encode()
    assert unit.section is Section.DATA


def test_an_unreadable_copy_is_an_error() -> None:
    with pytest.raises(DumpError, match="COPY"):
        scan(PostgresqlScanner(), SMALL.replace(b" FROM stdin;", b" FROM '/etc/passwd';"))


def test_globals_have_a_marker_of_their_own() -> None:
    text = SMALL.replace(b"database dump", b"database cluster dump")
    text = text.replace(b"-- Name: t; Type: TABLE; Schema: public; Owner: o", b"-- Roles")
    text = text.replace(b"COPY public.t (a) FROM stdin;\n1\n2\n\\.\n", b"CREATE ROLE x;\n")
    cuts = scan(PostgresqlGlobalsScanner(), text, [3])
    assert [cut.name for cut in cuts] == ["header", "globals", "footer"]
    assert b"".join(cut.text for cut in cuts) == text
    with pytest.raises(DumpError):
        scan(PostgresqlGlobalsScanner(), SMALL)


def test_rows_that_are_loaded_through_a_root_are_data() -> None:
    """pg_dump remarks on it between heading and COPY; what follows is data, too, and not the end of the dump."""
    heading = b"--\n-- Data for Name: shades_0; Type: TABLE DATA; Schema: s; Owner: o\n--\n\n"
    remark = b'-- load via partition root s."odd ""root"\n\n'
    block = b'COPY s."odd ""root" (c) FROM stdin;\n1\n\\.\n\n\n'
    sequence = (
        b"--\n-- Name: n; Type: SEQUENCE SET; Schema: s; Owner: o\n--\n\nSELECT pg_catalog.setval('s.n', 1);\n\n\n"
    )
    end = b"--\n-- PostgreSQL database dump complete\n--\n"
    text = b"SET x = 1;\n\n" + heading + remark + block + sequence + end
    for size in (1, 7, len(text)):
        scanner = PostgresqlScanner()
        segments = [each for at in range(0, len(text), size) for each in scanner.feed(text[at : at + size])]
        found = [(each.section, each.object_name) for each in segments + scanner.finish()]
        assert found[1:3] == [(Section.DATA, 's.odd "root'), (Section.DATA, "sequences")]
