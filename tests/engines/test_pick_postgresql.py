"""Taking tables out of pg_dump's text, and giving them other names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.engines.pick_postgresql import Listing, Wanted, pick, script
from vya_backupd.engines.rename_postgresql import CopyNames, pair, quoted, renamed

HEADER = b"SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n"


def _entries(*statements: str) -> bytes:
    heading = "--\n-- Name: x; Type: X; Schema: public; Owner: o\n--\n\n"
    return "\n\n".join(each if each.startswith("SET ") else heading + each for each in statements).encode() + b"\n"


SCHEMA = _entries(
    "CREATE TYPE public.mood AS ENUM ('a');",
    "SET default_tablespace = fast;",
    "CREATE TABLE public.a (\n    id integer\n);\n\nALTER TABLE public.a OWNER TO o;",
    "SET default_tablespace = '';",
    "CREATE TABLE public.b (\n    id integer\n)\nPARTITION BY RANGE (id);",
    "CREATE TABLE public.b1 (\n    id integer\n);",
    'CREATE TABLE other."a" (\n    id integer\n);',
    "CREATE SEQUENCE public.a_id_seq\n    START WITH 1;",
    "ALTER SEQUENCE public.a_id_seq OWNED BY public.a.id;",
    "CREATE SEQUENCE public.free;",
    "CREATE VIEW public.v AS\n SELECT a.id\n   FROM public.a;",
    "ALTER TABLE ONLY public.b ATTACH PARTITION public.b1 FOR VALUES FROM (1) TO (2);",
    "ALTER TABLE ONLY public.a ALTER COLUMN id SET DEFAULT nextval('public.a_id_seq'::regclass);",
)
POST = _entries(
    "ALTER TABLE ONLY public.a\n    ADD CONSTRAINT a_pkey PRIMARY KEY (id);",
    "CREATE INDEX a_i ON public.a USING btree (id);",
    "COMMENT ON INDEX public.a_i IS 'public.a';",
    "COMMENT ON CONSTRAINT a_pkey ON public.a IS 'x';",
    "CREATE RULE r AS\n    ON DELETE TO public.a DO ( DELETE FROM public.b;\n SELECT 1;\n);",
    "CREATE TRIGGER t AFTER INSERT ON public.b FOR EACH ROW EXECUTE FUNCTION public.a();",
    "ALTER TABLE ONLY public.a\n    ADD CONSTRAINT a_fk FOREIGN KEY (id) REFERENCES public.b(id);",
    "ALTER PUBLICATION p ADD TABLE ONLY public.a;",
    "GRANT SELECT ON TABLE public.a TO PUBLIC;",
    "GRANT USAGE ON SEQUENCE public.a_id_seq TO PUBLIC;",
    "GRANT SELECT ON TABLE public.v TO PUBLIC;",
)
LISTING = Listing.of(HEADER, SCHEMA, POST)


def _picked(*tables: str, **terms: object) -> str:
    found = pick(LISTING, Wanted(tables, **terms))  # type: ignore[arg-type]
    return (script(found.schema) + script(found.post)).decode()


def test_a_table_with_all_of_its_own() -> None:
    text = _picked("public.a")
    for words in (
        "SET default_tablespace = fast;\n\n--\n-- Name",
        "CREATE TABLE public.a (",
        "ALTER TABLE public.a OWNER TO o;",
        "CREATE SEQUENCE public.a_id_seq",
        "OWNED BY public.a.id",
        "SET DEFAULT nextval",
        "a_pkey PRIMARY KEY",
        "CREATE INDEX a_i",
        "COMMENT ON INDEX",
        "COMMENT ON CONSTRAINT",
        "CREATE RULE r AS\n    ON DELETE TO public.a DO ( DELETE FROM public.b;\n SELECT 1;\n);",
        "a_fk FOREIGN KEY",
        "GRANT SELECT ON TABLE public.a",
        "GRANT USAGE ON SEQUENCE public.a_id_seq",
    ):
        assert words in text
    for words in ("public.v", "TABLE public.b", "public.free", 'other."a"', "PUBLICATION", "ENUM", "TRIGGER"):
        assert words not in text


def test_partitions_come_with_their_table_and_alone_without_it() -> None:
    both = pick(LISTING, Wanted(("public.b",)))
    assert both.tables == ("public.b", "public.b1")
    assert b"ATTACH" in script(both.schema)
    alone = pick(LISTING, Wanted(("public.b1",)))
    assert alone.tables == ("public.b1",)
    assert b"ATTACH" not in script(alone.schema)
    assert "public.b1 is a partition of public.b" in alone.left_out[0]


def test_without_indexes() -> None:
    text = _picked("public.a", indexes=False)
    assert "GRANT SELECT" in text
    for words in ("PRIMARY KEY", "INDEX", "COMMENT ON", "FOREIGN KEY"):
        assert words not in text


def test_what_is_not_there_is_left_out_and_told() -> None:
    terms = Wanted(("public.a",), has_table=lambda _: False, has_publication=lambda _: False)
    found = pick(LISTING, terms)
    assert [each.split(" is ")[0] for each in found.left_out] == ["foreign key a_fk of public.a", "public.a"]
    there = Wanted(("public.a",), has_table=lambda _: True, has_publication=lambda _: True)
    assert b"ALTER PUBLICATION p" in script(pick(LISTING, there).post)


def test_a_partition_alone_is_no_partition_of_its_parent_s_index() -> None:
    post = _entries(
        "ALTER TABLE ONLY public.b\n    ADD CONSTRAINT b_pkey PRIMARY KEY (id);",
        "ALTER TABLE ONLY public.b1\n    ADD CONSTRAINT b1_pkey PRIMARY KEY (id);",
        "ALTER INDEX public.b_pkey ATTACH PARTITION public.b1_pkey;",
    )
    listing = Listing.of(HEADER, SCHEMA, post)
    assert b"ATTACH" not in script(pick(listing, Wanted(("public.b1",))).post)
    assert b"ALTER INDEX public.b_pkey ATTACH" in script(pick(listing, Wanted(("public.b",))).post)


def test_a_trigger_stays_away_with_its_function() -> None:
    post = _entries(
        "CREATE TRIGGER t AFTER INSERT ON public.b FOR EACH ROW WHEN ((new.id > 1)) EXECUTE FUNCTION public.f('x');",
        "COMMENT ON TRIGGER t ON public.b IS 'x';",
        "CREATE TRIGGER own BEFORE UPDATE ON public.b FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();",
    )
    listing = Listing.of(HEADER, SCHEMA, post)
    found = pick(listing, Wanted(("public.b",), has_function=lambda _: False))
    assert found.left_out == ("trigger t of public.b is left out: there is no function public.f",)
    text = script(found.post).decode()
    assert "TRIGGER own" in text
    assert "TRIGGER t " not in text
    for terms in (Wanted(("public.b",)), Wanted(("public.b",), has_function="public.f".__eq__)):
        assert script(pick(listing, terms).post).count(b"TRIGGER t ") == 2


def test_heirs_do_not_come_and_are_told() -> None:
    schema = SCHEMA + _entries(
        'CREATE TABLE public.h (\n    id integer\n)\nINHERITS (other."a", public.a);',
    )
    listing = Listing.of(HEADER, schema, b"")
    found = pick(listing, Wanted(("public.a",)))
    assert found.left_out == ("public.h inherits from public.a and does not come with it",)
    assert pick(listing, Wanted(("public.a", "other.a", "public.h"))).left_out == ()


def test_schemas_with_dots_in_their_names() -> None:
    schema = SCHEMA + _entries('CREATE TABLE "we.ird"."ta.ble" (\n    id integer\n);')
    listing = Listing.of(HEADER, schema, b"")
    assert listing.split("we.ird.ta.ble") == ("we.ird", "ta.ble")
    assert listing.split("public.a.b") == ("public", "a.b")


def test_settings_in_force_before_the_post_section() -> None:
    behind = b"1\n\\.\n\n\nSET default_tablespace = slow;\n\n"
    listing = Listing.of(HEADER, SCHEMA, POST, behind)
    assert b"SET default_tablespace = slow;" in script(pick(listing, Wanted(("public.a",))).post)


def test_positions_of_its_sequences_alone() -> None:
    text = _entries(
        "SELECT pg_catalog.setval('public.free', 1, true);", "SELECT pg_catalog.setval('public.a_id_seq', 7, true);"
    )
    found = pick(LISTING, Wanted(("public.a",))).positions(text, LISTING.dialect)
    assert found == b"SELECT pg_catalog.setval('public.a_id_seq', 7, true);\n\n"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("CREATE TABLE public.a (id integer);", 'CREATE TABLE "s"."a" (id integer);'),
        ("ALTER SEQUENCE public.q OWNED BY public.a.id;", 'ALTER SEQUENCE public.q OWNED BY "s"."a".id;'),
        ("SELECT nextval('public.a'::regclass);", 'SELECT nextval(\'"s"."a"\'::regclass);'),
        ("SELECT pg_catalog.setval('public.a', 1);", 'SELECT pg_catalog.setval(\'"s"."a"\', 1);'),
        ("COMMENT ON TABLE public.a IS 'public.a';", 'COMMENT ON TABLE "s"."a" IS \'public.a\';'),
        ("SELECT public.a(1), public.ab, x.public.a;", "SELECT public.a(1), public.ab, x.public.a;"),
        ('CHECK (("public"."a".x > 0));', 'CHECK (("s"."a".x > 0));'),
        ("X REFERENCES public.a(id);", 'X REFERENCES "s"."a"(id);'),
        ("DO $$ public.a $$;", "DO $$ public.a $$;"),
    ],
)
def test_names_are_exchanged_where_they_are_names(statement: str, expected: str) -> None:
    assert renamed(statement.encode(), {(b"public", b"a"): (b"s", b"a")}).strip() == expected.encode()


ROWS = st.lists(st.sampled_from(["1\tx", "\\\\.", "\\N", "COPY public.a (i) FROM stdin;", "", "-- x"]), max_size=6)


@given(st.lists(ROWS, max_size=4), st.data())
def test_copy_lines_get_the_new_name_and_rows_stay(blocks: list[list[str]], data: st.DataObject) -> None:
    """However rows are spread over segments: a segment that goes on within a row says so."""

    def text(name: str) -> str:
        return "".join(
            f"--\n-- Data\n--\n\nCOPY {name} (i) FROM stdin;\n{''.join(f'{row}' + chr(10) for row in rows)}\\.\n\n\n"
            for rows in blocks
        )

    names = CopyNames({(b"public", b"a"): (b'n"w', b"b")})
    whole = text("public.a").encode()
    assert names.rewrite(whole, continued=False) == text('"n""w"."b"').encode()
    for cut in _within_rows(whole):
        if data.draw(st.booleans()):
            parts = names.rewrite(whole[:cut], continued=False) + names.rewrite(whole[cut:], continued=True)
            assert parts == text('"n""w"."b"').encode()


def _within_rows(text: bytes) -> list[int]:
    """Places after the first byte of a row: a segment that is cut off is cut there."""
    places, at, inside = [], 0, False
    for line in text.splitlines(keepends=True):
        if inside and line == b"\\.\n":
            inside = False
        elif inside and len(line) > 1:
            places.append(at + 1)
        elif not inside and line.startswith(b"COPY "):
            inside = True
        at += len(line)
    return places


@given(st.tuples(st.binary(min_size=1), st.binary(min_size=1)))
def test_any_name_survives_its_quotes(name: tuple[bytes, bytes]) -> None:
    assert pair(quoted(name)) == name
