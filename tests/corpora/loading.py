"""Making databases from files that others wrote, with the vendors' own clients, as those files were meant to be run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.e2e.compare_mysql import client
from vya_backupd.testing.corpora import REGRESSION, Corpus
from vya_backupd.testing.servers import PrivateServer

_OWN_DATABASE = re.compile(
    r"^(?:(?:DROP|CREATE) (?:DATABASE|SCHEMA)\b[^;]*;|USE\b[^;]*;|FLUSH\b[^;]*;|\\c\b.*)$", re.IGNORECASE | re.MULTILINE
)
_OWN_NAME = re.compile(r"\bsakila\.")
_SOURCE = re.compile(r"^source\s+(\S+?)\s*;\s*$", re.IGNORECASE | re.MULTILINE)
_FILE_SECONDS = 300
_SKIPPED = {"tablespace"}
"""Makes folders within the sources."""


def load(server: PrivateServer, corpus: Corpus, database: str) -> None:
    """Make the database of a corpus."""
    if server.kind == "postgresql":
        server.create_database(database)
        for file in corpus.files:
            place = (corpus.path / file).parent
            text = _OWN_DATABASE.sub("", (corpus.path / file).read_text(encoding="utf-8-sig"))
            _psql(server, database, text, place, {})
    else:
        server.create_database(database, "CHARACTER SET utf8mb4")
        text = "\n".join(_inlined(corpus.path / file) for file in corpus.files)
        text = _OWN_NAME.sub(f"`{database}`.", _OWN_DATABASE.sub("", text))
        client(server, text.encode(), database, "--default-character-set=utf8mb4")


def _inlined(file: Path) -> str:
    """A file with those that it includes: the client takes no commands in binary mode."""
    text = file.read_text(encoding="utf-8-sig")
    return _SOURCE.sub(lambda found: _inlined(file.parent / found[1]), text)


def load_regression(server: PrivateServer, database: str, output: Path) -> None:
    """What PostgreSQL's own tests leave in a database. Those that need a library of C are run in vain."""
    sources = REGRESSION.path / "src" / "test" / "regress"
    for folder in (output, output / "results"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    server.create_database(database, "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    server.sql(
        "; ".join(
            f'ALTER DATABASE "{database}" SET {setting}'
            for setting in ("lc_messages TO 'C'", "timezone TO 'PST8PDT'", "datestyle TO 'Postgres, MDY'")
        )
    )
    places = {
        "PG_ABS_SRCDIR": str(sources),
        "PG_ABS_BUILDDIR": str(output),
        "PG_LIBDIR": str(output),
        "PG_DLSUFFIX": ".so",
        "PGTZ": "PST8PDT",
        "PGDATESTYLE": "Postgres, MDY",
    }
    schedule = (sources / "parallel_schedule").read_text()
    for line in re.findall(r"^test: (.*)$", schedule, re.MULTILINE):
        for name in line.split():
            if name not in _SKIPPED:
                _psql(server, database, (sources / "sql" / f"{name}.sql").read_text(), output, places, strict=False)


def _psql(
    server: PrivateServer, database: str, text: str, place: Path, more: dict[str, str], *, strict: bool = True
) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")} | more
    environment |= {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.admin_user}
    environment |= {"PGPASSWORD": server.admin_password, "PGDATABASE": database, "PGCLIENTENCODING": "UTF8"}
    stop = ["--set=ON_ERROR_STOP=1"] if strict else ["--echo-all", "--set=HIDE_TABLEAM=on"]
    done = subprocess.run(
        [str(server.tools["psql"]), "--no-psqlrc", "--quiet", *stop],
        input=text.encode(),
        capture_output=True,
        check=False,
        env=environment,
        cwd=place,
        timeout=_FILE_SECONDS,
    )
    if strict and done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace")[-2000:])
