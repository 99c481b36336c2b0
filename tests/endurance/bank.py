"""A database in which somebody writes all the time, and of which every copy can prove that it is of one moment.

Money moves between accounts, one transaction for each transfer, and each transfer is written down. Now and then the
books are closed: what was written down is gone, and the balances are the new opening ones. Documents are rewritten
together with their digests. So a copy is of one moment exactly when no cent is missing, every balance is what the
transfers make of its opening, and every document is what its digest says.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
from typing import Self

from tests.e2e.compare_mysql import option_file
from vya_backupd.errors import ServerError
from vya_backupd.testing.servers import PrivateServer

ACCOUNTS, OPENING, DOCUMENTS = 400, 10_000, 1_500
_CLOSING = 400
"""Transfers between two closings of the books: the database does not grow."""

_SCHEMA = """
CREATE TABLE accounts (id int PRIMARY KEY, opening bigint NOT NULL, cents bigint NOT NULL);
CREATE TABLE transfers (id int PRIMARY KEY, giver int NOT NULL, taker int NOT NULL, cents int NOT NULL);
CREATE TABLE turns (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE documents (id int PRIMARY KEY, body varchar(900) NOT NULL, digest char(64) NOT NULL);
INSERT INTO turns VALUES (1, 0);
"""
_CHECK = """
SELECT (SELECT n FROM turns),
       (SELECT sum(cents) - {money} FROM accounts),
       (SELECT count(*) FROM accounts a WHERE cents <> opening
          - coalesce((SELECT sum(t.cents) FROM transfers t WHERE t.giver = a.id), 0)
          + coalesce((SELECT sum(t.cents) FROM transfers t WHERE t.taker = a.id), 0)),
       (SELECT count(*) - {accounts} FROM accounts),
       (SELECT count(*) - {documents} FROM documents),
       (SELECT count(*) FROM documents WHERE {digest} <> digest)
"""


class Bank:
    """A bank's database on a server, and its clerk: a context manager while which he works.

    ``pace`` is the number of transfers in a second.
    """

    def __init__(self, server: PrivateServer, name: str, pace: float) -> None:
        self.server = server
        self.name = name
        self.pace = pace
        self._random = random.Random(name)
        self._stop = threading.Event()
        self._clerk = threading.Thread(target=self._work, name=f"clerk of {name}", daemon=True)

    def open(self) -> None:
        """Make the database."""
        self.server.create_database(self.name, "" if self.server.kind == "postgresql" else "CHARACTER SET utf8mb4")
        accounts = ", ".join(f"({number}, {OPENING}, {OPENING})" for number in range(ACCOUNTS))
        self.server.sql(f"{_SCHEMA} INSERT INTO accounts VALUES {accounts};", self.name)
        bodies = [self._body(number) for number in range(DOCUMENTS)]
        documents = ", ".join(f"({number}, '{body}', {self._digest(repr(body))})" for number, body in enumerate(bodies))
        self.server.sql(f"INSERT INTO documents VALUES {documents};", self.name)

    def __enter__(self) -> Self:
        self._clerk.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._clerk.join()

    def turns(self) -> int:
        """Transfers that were committed so far."""
        return int(self.server.sql("SELECT n FROM turns", self.name)[0][0])

    def check(self, copy: str) -> tuple[int, str]:
        """The number of transfers that a restored copy knows, and what is wrong with it: nothing, if all is well."""
        query = _CHECK.format(
            money=ACCOUNTS * OPENING, accounts=ACCOUNTS, documents=DOCUMENTS, digest=self._digest("body")
        )
        values = [int(value) for value in self.server.sql(query, copy)[0]]
        names = ("cents too many", "wrong balances", "accounts too many", "documents too many", "wrong documents")
        wrong = [f"{value} {name}" for name, value in zip(names, values[1:], strict=True) if value]
        return values[0], ", ".join(wrong)

    # inside

    def _work(self) -> None:
        """Work through the vendor's client, and begin anew when the server went away under it."""
        while not self._stop.is_set():
            try:
                if self.server.running:
                    self._day(self.turns())
            except (ServerError, BrokenPipeError):
                pass
            self._stop.wait(0.5)

    def _day(self, turn: int) -> None:
        with option_file(self.server) if self.server.kind != "postgresql" else contextlib.nullcontext("") as file:
            command, environment = self._client(str(file))
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
            assert process.stdin is not None
            try:
                while not self._stop.wait(1 / self.pace) and process.poll() is None:
                    turn += 1
                    process.stdin.write(self._transaction(turn).encode())
                    process.stdin.flush()
            finally:
                process.kill()
                process.wait()
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()

    def _client(self, options: str) -> tuple[list[str], dict[str, str] | None]:
        if self.server.kind != "postgresql":
            return [str(self.server.tools["client"]), f"--defaults-file={options}", self.name], None
        environment = {
            "PGHOST": self.server.host,
            "PGPORT": str(self.server.port),
            "PGUSER": self.server.admin_user,
            "PGPASSWORD": self.server.admin_password,
            "PGDATABASE": self.name,
        }
        return [str(self.server.tools["psql"]), "-Xq", "-v", "ON_ERROR_STOP=1"], environment

    def _transaction(self, turn: int) -> str:
        if turn % _CLOSING == 0:
            change = "UPDATE accounts SET opening = cents; DELETE FROM transfers;"
        else:
            giver, taker = self._random.sample(range(ACCOUNTS), 2)
            cents = self._random.randrange(1, 50)
            body = self._body(turn)
            change = (
                f"UPDATE accounts SET cents = cents - {cents} WHERE id = {giver};\n"
                f"INSERT INTO transfers VALUES ({turn}, {giver}, {taker}, {cents});\n"
                f"UPDATE documents SET body = '{body}', digest = {self._digest(repr(body))} WHERE id = {turn % DOCUMENTS};\n"
                f"UPDATE accounts SET cents = cents + {cents} WHERE id = {taker};\n"
            )
        return f"BEGIN;\n{change}\nUPDATE turns SET n = {turn};\nCOMMIT;\n"

    def _digest(self, value: str) -> str:
        if self.server.kind == "postgresql":
            return f"encode(sha256(convert_to({value}, 'UTF8')), 'hex')"
        return f"sha2({value}, 256)"

    def _body(self, number: int) -> str:
        return f"{number} " + self._random.randbytes(400).hex()
