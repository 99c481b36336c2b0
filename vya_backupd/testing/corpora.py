"""Databases that others made, to be backed up and restored in tests: ``python -m vya_backupd.testing.corpora [NAME ...]``.

They are brought into a cache outside of the repository, and stay under their own licences. PostgreSQL's regression
database comes from Debian's source package, the vendors' samples from GitHub, or from the same paths below
``VYA_CORPORA_URL``. Ends with status 1 when one that was asked for could not be had.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vya_backupd.errors import ToolError, VyaError
from vya_backupd.testing.apt import Source, fetch_source
from vya_backupd.testing.cache import server_cache

_ARCHIVES = "https://codeload.github.com"
_SECONDS = 120
_LARGEST = 512 << 20


@dataclass(frozen=True, slots=True)
class Corpus:
    """One database in a folder of the cache: the files that make it, in their order.

    ``family`` is the kind of server, ``mysql`` for both that speak it. ``repository`` is GitHub's, empty where Debian's
    source package has it.
    """

    name: str
    family: str
    folder: str
    repository: str
    files: tuple[str, ...]
    licence: str

    @property
    def path(self) -> Path:
        """Its folder, whether or not it is there."""
        return cache() / self.folder

    @property
    def is_there(self) -> bool:
        """Whether all files are."""
        return all((self.path / file).is_file() for file in self.files)


REGRESSION = Corpus(
    "regression", "postgresql", "postgresql-regress", "", ("src/test/regress/parallel_schedule",), "PostgreSQL"
)
"""The database that PostgreSQL's own tests leave behind: what there is of objects, and much that nobody would make."""
_EMPLOYEES = "bytebase/employee-sample-database"
_CHINOOK = "lerocha/chinook-database"
_SAKILA = "postgres-sakila-db/postgres-sakila-"
CORPORA = (
    REGRESSION,
    Corpus("northwind", "postgresql", "northwind", "pthom/northwind_psql", ("northwind.sql",), "MS-PL"),
    Corpus("pagila", "postgresql", "pagila", "neondatabase/postgres-sample-dbs", ("pagila.sql",), "MIT"),
    Corpus(
        "sakila",
        "postgresql",
        "sakila",
        "jOOQ/sakila",
        (f"{_SAKILA}schema.sql", f"{_SAKILA}insert-data-using-copy.sql"),
        "BSD",
    ),
    Corpus(
        "chinook", "postgresql", "chinook", _CHINOOK, ("ChinookDatabase/DataSources/Chinook_PostgreSql.sql",), "MIT"
    ),
    Corpus(
        "employees",
        "postgresql",
        "employees",
        _EMPLOYEES,
        ("postgres/dataset_small/employee.sql",),
        "CC BY-SA 3.0",
    ),
    Corpus(
        "sakila",
        "mysql",
        "test_db",
        "datacharmer/test_db",
        ("sakila/sakila-mv-schema.sql", "sakila/sakila-mv-data.sql"),
        "BSD",
    ),
    Corpus("chinook", "mysql", "chinook", _CHINOOK, ("ChinookDatabase/DataSources/Chinook_MySql.sql",), "MIT"),
    Corpus(
        "employees",
        "mysql",
        "employees",
        _EMPLOYEES,
        ("mysql/dataset_small/employee.sql", "mysql/dataset_small/object.sql"),
        "CC BY-SA 3.0",
    ),
)


def cache() -> Path:
    """The folder that holds them, beside that of the servers."""
    return server_cache().parent / "corpora"


def main(arguments: Sequence[str] = ()) -> int:
    """Get what is missing; 1 when something could not be had."""
    parser = argparse.ArgumentParser(prog="corpora", description="Get sample databases for the tests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; all by default")
    names = parser.parse_args(arguments).names
    wanted = [corpus for corpus in CORPORA if not names or corpus.name in names]
    for corpus in wanted:
        try:
            if not corpus.is_there:
                get(corpus)
        except (VyaError, OSError, urllib.error.URLError, tarfile.TarError) as error:
            print(f"{corpus.name} ({corpus.family}) could not be had: {error}", flush=True)
    for corpus in wanted:
        state = corpus.path if corpus.is_there else "MISSING"
        print(f"{corpus.name:<12} {corpus.family:<11} {corpus.licence:<13} {state}", flush=True)
    return 0 if all(corpus.is_there for corpus in wanted) else 1


def get(corpus: Corpus) -> None:
    """Bring one into the cache.

    Raises:
        ToolError: apt could not.
        OSError: it could not be downloaded or written.
    """
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as name:
        folder = Path(name)
        (_from_debian if not corpus.repository else _from_github)(corpus, folder)
        folder.chmod(0o755)
        shutil.copytree(folder, corpus.path, dirs_exist_ok=True)


def _from_debian(corpus: Corpus, folder: Path) -> None:
    del corpus
    with tempfile.TemporaryDirectory() as name:
        [archive] = fetch_source(Source.of_machine("bookworm"), "postgresql-15", Path(name)).glob("*.orig.tar.*")
        wanted = ("*/src/test/regress/*", "*/COPYRIGHT")
        command = ["tar", f"--directory={folder}", "--strip-components=1", "--wildcards", "-xf", str(archive), *wanted]
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise ToolError(done.stderr.decode(errors="replace").strip())


def _from_github(corpus: Corpus, folder: Path) -> None:
    base = os.environ.get("VYA_CORPORA_URL", _ARCHIVES)
    if not base.startswith(("https://", "file://")):
        raise ToolError(f"VYA_CORPORA_URL is neither https:// nor file://: {base}")
    with urllib.request.urlopen(f"{base}/{corpus.repository}/tar.gz/HEAD", timeout=_SECONDS) as answer:
        content = answer.read(_LARGEST)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive.getmembers():
            member.name = member.name.partition("/")[2]
            if member.isfile() and member.name:
                archive.extract(member, folder, filter="data")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
