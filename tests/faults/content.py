"""A database of which one query tells whether it is whole, and how far it had come when it was copied.

Everything in it is a function of one number, its *generation*: each transaction books an amount from one account to
another, writes that down, and is one generation more. So a restored database that says "generation 17" must be, row for
row, what the source was after its seventeenth transaction; half a transaction, a lost row or a changed one shows at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from vya_backupd.testing.servers import PrivateServer

_ACCOUNTS = 20
_BODY = 6
"""Digests in the text of one row of ``bulk``."""


@dataclass(frozen=True, slots=True)
class Content:
    """What lies in a database: ``rows`` of text that never change, beside accounts and ledger."""

    server: PrivateServer
    rows: int

    def fill(self, database: str) -> None:
        """Make it, at generation 0."""
        self.server.drop_database(database)
        self.server.create_database(database, "" if self.server.kind == "postgresql" else "CHARACTER SET utf8mb4")
        accounts = ", ".join(f"({number}, 0)" for number in range(_ACCOUNTS))
        self.server.sql(
            f"""
            CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);
            CREATE TABLE ledger (gen int PRIMARY KEY, source int NOT NULL, sink int NOT NULL, amount int NOT NULL,
                digest char(32) NOT NULL, FOREIGN KEY (source) REFERENCES account (id),
                FOREIGN KEY (sink) REFERENCES account (id));
            CREATE TABLE bulk (id int PRIMARY KEY, body varchar(300) NOT NULL);
            CREATE INDEX by_amount ON ledger (amount);
            CREATE INDEX by_body ON bulk (body);
            CREATE VIEW turnover AS SELECT source, count(*) AS times FROM ledger GROUP BY source;
            INSERT INTO account VALUES {accounts};
            INSERT INTO bulk {self._numbers()};
            {self._routines()}""",
            database,
        )

    def _numbers(self) -> str:
        if self.server.kind == "postgresql":
            return f"SELECT n, repeat({self._digest('n')}, {_BODY}) FROM generate_series(1, {self.rows}) n"
        if self.server.kind == "mariadb":
            return f"SELECT seq, repeat({self._digest('seq')}, {_BODY}) FROM seq_1_to_{self.rows}"
        body = f"repeat({self._digest('n')}, {_BODY})"
        counted = f"WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {self.rows})"
        return f"{counted} SELECT /*+ SET_VAR(cte_max_recursion_depth = 100000) */ n, {body} FROM up"

    def _digest(self, number: str) -> str:
        """SQL for 32 characters that are made of a number."""
        return f"md5(({number})::text)" if self.server.kind == "postgresql" else f"left(sha2({number}, 256), 32)"

    def _routines(self) -> str:
        if self.server.kind == "postgresql":
            return "CREATE FUNCTION total() RETURNS bigint LANGUAGE sql AS 'SELECT sum(balance) FROM account'"
        trigger = "CREATE TRIGGER kept BEFORE UPDATE ON bulk FOR EACH ROW SET NEW.id = OLD.id"
        return f"CREATE PROCEDURE total() SELECT sum(balance) FROM account; {trigger}"

    def advance(self, database: str, generation: int) -> None:
        """Go on by the one transaction that makes this generation."""
        source, sink, amount = generation * 7 % _ACCOUNTS, (generation * 11 + 3) % _ACCOUNTS, generation * 13 % 1000
        self.server.sql(
            f"""BEGIN;
            INSERT INTO ledger VALUES ({generation}, {source}, {sink}, {amount}, {self._digest(str(generation))});
            UPDATE account SET balance = balance - {amount} WHERE id = {source};
            UPDATE account SET balance = balance + {amount} WHERE id = {sink};
            COMMIT;""",
            database,
        )

    def generation(self, database: str) -> int:
        """How far this database has come, and that it is whole.

        Raises:
            ServerError: something that must be in it is not there.
            AssertionError: something in it is not what its generation makes it.
        """
        body = f"repeat({self._digest('id')}, {_BODY})"
        ((generation, *found),) = self.server.sql(
            f"""SELECT coalesce(max(gen), 0), count(*), coalesce(sum(CASE WHEN digest = {self._digest("gen")} THEN 1 ELSE 0 END), 0),
                (SELECT count(*) FROM account a WHERE balance <> coalesce(
                    (SELECT sum(CASE WHEN sink = a.id THEN amount ELSE 0 END
                              - CASE WHEN source = a.id THEN amount ELSE 0 END) FROM ledger), 0)),
                (SELECT count(*) FROM account),
                (SELECT count(*) FROM bulk WHERE body = {body}), (SELECT count(*) FROM bulk),
                (SELECT coalesce(sum(times), 0) FROM turnover)
                FROM ledger""",
            database,
        )
        wanted = [generation, generation, "0", str(_ACCOUNTS), str(self.rows), str(self.rows), generation]
        assert list(found) == wanted, f"{database} is not what generation {generation} is: {found}, not {wanted}"
        return int(generation)

    def has_bulk(self, database: str) -> bool:
        """Whether the table ``bulk`` is there; it is then whole.

        Raises:
            AssertionError: it is there, and not whole.
        """
        schema = "public" if self.server.kind == "postgresql" else database
        there = (
            f"SELECT count(*) FROM information_schema.tables WHERE table_schema = '{schema}' AND table_name = 'bulk'"
        )
        if self.server.sql(there, database) == [("0",)]:
            return False
        body = f"repeat({self._digest('id')}, {_BODY})"
        found = self.server.sql(f"SELECT count(*) FROM bulk WHERE body = {body}", database)
        assert found == [(str(self.rows),)], f"bulk in {database} has {found} whole rows of {self.rows}"
        return True
