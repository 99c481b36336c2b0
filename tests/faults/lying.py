"""A dump tool between the daemon and the real one, which lies when it is told to. For PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.injection import Injection, Strike
from tests.faults.rig import Bench
from vya_backupd.testing.servers import PrivateServer

_TOOL = r"""#!/bin/sh
lie=$(cat {folder}/lie)
case " $* " in *" --version "*|*" --schema-only "*) lie=none;; esac
case "$lie" in
none) exec {real} "$@";;
cut) {real} "$@" | sed '/^COPY public.ledger /,$d';;
failed) {real} "$@" | sed '/^COPY public.ledger /,/^\\\.$/d'; exit 1;;
esac
"""


def liar(server: PrivateServer, folder: Path) -> dict[str, Any]:
    """Make the tool in this folder. Returns the section ``tools`` that puts it in the real one's place."""
    real = server.tools["pg_dump"]
    folder.mkdir(parents=True)
    tool = folder / real.name
    tool.write_text(_TOOL.format(folder=folder, real=real))
    tool.chmod(0o755)
    (folder / "lie").write_text("none")
    return {"postgresql": {"search": [str(folder), str(real.parent)]}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLies(Injection):
    """``cut``: the dump ends in the midst of its rows, and well. ``failed``: rows are missing, and it ends badly."""

    lie: str
    folder: Path

    @contextmanager
    def around(self, bench: Bench) -> Iterator[Strike]:
        """See ``Injection``."""
        (self.folder / "lie").write_text(self.lie)
        yield lambda _run: True
        (self.folder / "lie").write_text("none")
