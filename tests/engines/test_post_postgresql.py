"""The order of the post section over several sessions: early where it is safe, in the dump's order where it is not."""

from __future__ import annotations

from vya_backupd.engines.cut_postgresql import Dialect, cut_entries
from vya_backupd.engines.post_postgresql import DATA, SCHEMA, Families, Step, arrange, data_group

PLAIN = Dialect()
SCHEMA_TEXT = """
CREATE TABLE s.parted (a integer) PARTITION BY RANGE (a);
CREATE TABLE s.part (a integer);
CREATE TABLE s.mother (a integer);
CREATE TABLE s.child (b integer)
INHERITS (s.mother, s."other one");
CREATE TABLE s.t (a integer);
ALTER TABLE ONLY s.parted ATTACH PARTITION s.part DEFAULT;
"""
POST = """
ALTER TABLE ONLY s.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (a);
ALTER TABLE ONLY s.parted\n    ADD CONSTRAINT parted_pkey PRIMARY KEY (a);
ALTER TABLE ONLY s.part\n    ADD CONSTRAINT part_pkey PRIMARY KEY (a);
CREATE INDEX plain ON s.t USING btree (a, "odd (b)" DESC) INCLUDE (c) WITH (fillfactor='70');
CREATE INDEX expression ON s.t USING btree (lower(a));
CREATE INDEX partial ON s.t USING gin (a) WHERE (a > 0);
COMMENT ON INDEX s.plain IS 'x';
ALTER INDEX s.parted_pkey ATTACH PARTITION s.part_pkey;
CREATE FUNCTION s.late() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE INDEX late ON s.t USING btree (s.late());
CREATE TRIGGER g AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.f();
ALTER TABLE ONLY s.t\n    ADD CONSTRAINT f1 FOREIGN KEY (a) REFERENCES s.u(a);
COMMENT ON CONSTRAINT f1 ON s.t IS 'x';
ALTER TABLE ONLY s.u\n    ADD CONSTRAINT f2 FOREIGN KEY (a) REFERENCES s.parted(a);
REFRESH MATERIALIZED VIEW s.v;
"""


def _entries(text: str) -> bytes:
    heading = "--\n-- Name: x; Type: X; Schema: s; Owner: o\n--\n\n"
    return "\n\n".join(heading + statement + ";" for statement in text.strip().removesuffix(";").split(";\n")).encode()


def _steps() -> dict[str, Step]:
    families = Families(cut_entries(_entries(SCHEMA_TEXT), PLAIN), PLAIN)
    steps = arrange(cut_entries(_entries(POST), PLAIN), families, {"s.t": 1000, "s.part": 10})
    named = {
        step.what.rpartition(" of ")[0].split()[-1] if " of s." in step.what else step.group: step for step in steps
    }
    assert len(named) == len(steps)
    return named


def test_families_are_known_by_their_oldest() -> None:
    families = Families(cut_entries(_entries(SCHEMA_TEXT), PLAIN), PLAIN)
    assert (families.root("s.part"), families.root("s.parted"), families.root("s.t")) == ("s.parted", "s.parted", "s.t")
    assert families.root("s.child") == families.root("s.mother") == families.root("s.other one")
    assert families.has_heirs("s.mother")
    assert not families.has_heirs("s.child")


def test_an_index_of_columns_waits_for_its_own_rows_only() -> None:
    steps = _steps()
    early = frozenset({SCHEMA, data_group("s.t")})
    assert steps["t_pkey"].after == steps["s.plain"].after == early
    assert steps["s.expression"].after == steps["s.partial"].after == frozenset({SCHEMA, DATA})
    assert steps["part_pkey"].after == frozenset({SCHEMA, data_group("s.part")})


def test_keys_want_their_table_alone_and_indexes_share_it() -> None:
    steps = _steps()
    assert steps["t_pkey"].exclusive == steps["s.plain"].shared == frozenset({"s.t"})
    assert not steps["s.plain"].exclusive
    assert steps["f1"].exclusive == frozenset({"s.t", "s.u"})


def test_the_parent_of_partitions_is_never_beside_one_of_them() -> None:
    steps = _steps()
    assert steps["parted_pkey"].after == frozenset({SCHEMA, DATA})
    assert steps["parted_pkey"].exclusive & steps["part_pkey"].shared == {"s.parted"}
    assert "s.parted" in steps["f2"].exclusive


def test_what_an_index_could_depend_on_is_a_barrier() -> None:
    steps = _steps()
    assert b"ATTACH" in steps["row 0"].text
    assert b"s.late()" in steps["row 0"].text
    assert steps["row 0"].after >= {"side 0", DATA}
    assert steps["s.late"].after >= {"row 0"}


def test_foreign_keys_come_side_by_side_and_what_follows_them_last() -> None:
    steps = _steps()
    assert steps["f1"].group == steps["f2"].group == "side 2"
    assert steps["f1"].after >= {"row 1"}
    assert b"TRIGGER" in steps["row 1"].text
    assert steps["row 2"].text.index(b"COMMENT") < steps["row 2"].text.index(b"REFRESH")
    assert steps["row 2"].after >= {"side 2", "row 1"}


def test_the_slowest_come_first() -> None:
    steps = _steps()
    assert steps["s.partial"].weight > steps["s.plain"].weight > steps["part_pkey"].weight > 0
