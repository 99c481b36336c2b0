"""Tables that nobody thought of: random names, types and rows, backed up and restored, and compared by the server."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.conftest import ServerPool, _labels
from tests.e2e import compare
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

_SYSTEM_COLUMNS = {"ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"}
_HOSTILE = [
    "\\.",
    "\\N",
    "\n\\.\n",
    "--\n-- Name: x; Type: TABLE; Schema: public; Owner: y\n--\n",
    "COPY public.t (a) FROM stdin;\n",
    "\n--\n-- PostgreSQL database dump complete\n--\n",
    "\\restrict abc\n",
    "$$ ' \" ; --",
]


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    default: str | None
    comment: str | None


@dataclass(frozen=True)
class Table:
    name: str
    kind: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | None, ...], ...]


def _text(**limits: int) -> st.SearchStrategy[str]:
    characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    return st.one_of(st.text(characters, **limits), st.sampled_from(_HOSTILE))


def _moments(low: dt.datetime = dt.datetime.min) -> st.SearchStrategy[str]:
    return st.one_of(st.datetimes(low).map(str), st.sampled_from(["infinity", "-infinity"]))


_integers = st.integers(-(2**31), 2**31 - 1)
_numbers = st.one_of(
    st.decimals(allow_nan=True, allow_infinity=True).map(lambda n: "NaN" if n.is_nan() else str(n)),
    st.sampled_from(["0.00000000000000000001", "-1e100", "1.0", "1.00"]),
)
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), _integers, st.sampled_from(["", "\\.", "é\n\t\"'", "--"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "", "b\\"]), inner, max_size=3),
    max_leaves=6,
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "integer": _integers.map(str),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "numeric": _numbers,
    "double precision": st.floats().map(str),
    "real": st.floats(width=32).map(str),
    "boolean": st.booleans().map(str),
    "text": _text(max_size=40),
    "varchar": _text(max_size=10),
    "bytea": st.binary(max_size=40).map(lambda data: "\\x" + data.hex()),
    "date": st.one_of(
        st.dates().map(str), st.sampled_from(["infinity", "-infinity", "0001-01-01 BC", "5874897-12-31"])
    ),
    "timestamp": _moments(),
    "timestamptz": _moments(dt.datetime(1900, 1, 1)),
    "interval": st.timedeltas().map(lambda t: f"{t.days} days {t.seconds} seconds {t.microseconds} microseconds"),
    "uuid": st.uuids().map(str),
    "jsonb": _json.map(lambda value: json.dumps(value)),
    "json": _json.map(lambda value: json.dumps(value, indent=1)),
    "integer[]": st.lists(_integers, max_size=4).map(lambda items: "{" + ",".join(map(str, items)) + "}"),
    "inet": st.ip_addresses().map(str),
    "bit varying": st.text("01", max_size=20),
    "int4range": st.tuples(st.integers(-100, 0), st.integers(0, 100)).map(lambda pair: f"[{pair[0]},{pair[1]})"),
    '"char"': st.characters(min_codepoint=1, max_codepoint=126),
}
_names = _text(min_size=1, max_size=20).filter(lambda name: 1 <= len(name.encode()) <= 63)


@st.composite
def tables(draw: st.DrawFn, name: str) -> Table:
    """One table, perhaps without columns, perhaps without rows."""
    names = draw(st.lists(_names.filter(lambda n: n not in _SYSTEM_COLUMNS), max_size=6, unique=True))
    columns = []
    for each in names:
        kind = draw(st.sampled_from(sorted(VALUES)))
        columns.append(Column(each, kind, draw(st.none() | VALUES[kind]), draw(st.none() | _text(min_size=1))))
    row = st.tuples(*(st.none() | VALUES[column.type] for column in columns))
    rows = draw(st.lists(row, max_size=6))
    return Table(name, draw(st.sampled_from(["TABLE", "TABLE", "UNLOGGED TABLE"])), tuple(columns), tuple(rows))


@st.composite
def databases(draw: st.DrawFn) -> list[Table]:
    """A dozen tables."""
    return [draw(tables(name)) for name in draw(st.lists(_names, min_size=8, max_size=14, unique=True))]


def _create(connection: psycopg.Connection, table: Table) -> None:
    name = sql.Identifier(table.name)
    columns = sql.SQL(", ").join(
        sql.SQL("{} {} {}").format(
            sql.Identifier(column.name),
            sql.SQL(column.type),  # one of our own
            sql.SQL("" if column.default is None else "DEFAULT {}").format(sql.Literal(column.default)),
        )
        for column in table.columns
    )
    connection.execute(sql.SQL("CREATE {} {} ({})").format(sql.SQL(table.kind), name, columns))
    for column in table.columns:
        if column.comment is not None:
            statement = sql.SQL("COMMENT ON COLUMN {}.{} IS {}")
            connection.execute(statement.format(name, sql.Identifier(column.name), sql.Literal(column.comment)))
    for row in table.rows:
        if row:
            values = sql.SQL(", ").join(map(sql.Literal, row))
            connection.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(name, values))
        else:
            connection.execute(sql.SQL("INSERT INTO {} DEFAULT VALUES").format(name))


@pytest.fixture(scope="module", params=_labels("postgresql"))
def installed(
    request: pytest.FixtureRequest, server_pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PrivateServer, Product]]:
    server = server_pool.get(request.param)
    entry = instance(server, "one", database="random_*")
    with Product(tmp_path_factory.mktemp("random") / "product", [entry], servers=[server]) as product:
        yield server, product


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=databases())
def test_random_tables_come_back_as_they_were(installed: tuple[PrivateServer, Product], content: list[Table]) -> None:
    server, product = installed
    name = f"random_{uuid.uuid4().hex[:12]}"
    server.create_database(name)
    try:
        with psycopg.connect(
            host=server.host, port=server.port, dbname=name, user=server.admin_user, password=server.admin_password
        ) as connection:
            for table in content:
                _create(connection, table)
        product.ok("backup", "--instance", "one", "--database", name)
        copy = f"copied_{name}"
        product.ok("restore", "--instance", "one", "--database", name, "--latest", "--target-database", copy)
        compare.assert_same(server, name, server, copy)
        assert len(compare.rows(server, copy)) == len(content)
    finally:
        server.drop_database(name)
        server.drop_database(f"copied_{name}")
