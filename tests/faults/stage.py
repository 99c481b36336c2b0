"""A bench that can be put back to what it was, and be given a daemon with a seeded bug."""

from __future__ import annotations

import copy
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.rig import Bench

_REMEMBERED = ("known", "restored", "accounts")
_SEEDING = Path(__file__).parent / "seeding"


@dataclass
class Stage:
    """``folder`` is beside the installation's: what was saved lies there."""

    bench: Bench
    folder: Path
    _notes: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """From here on, this is what it was. Ends the daemon."""
        self.bench.product.kill()
        shutil.copytree(self.bench.product.root, self.folder / "saved", symlinks=True, ignore=_sockets)
        self._notes = {name: copy.copy(self.bench.notes[name]) for name in _REMEMBERED}

    def begin(self, mutant: str = "") -> None:
        """Put everything back, and start a daemon with this bug, or with none."""
        bench, product = self.bench, self.bench.product
        if bench.is_up:
            product.kill()
        for path in product.root.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.copytree(self.folder / "saved", product.root, symlinks=True, dirs_exist_ok=True)
        bench.notes.clear()
        bench.notes |= {name: copy.copy(value) for name, value in self._notes.items()}
        bench.store = type(bench.store)(product)
        places = [str(_SEEDING)] * bool(mutant) + [os.environ.get("PYTHONPATH", "")]
        product.environ |= {"VYA_MUTANT": mutant, "PYTHONPATH": os.pathsep.join(each for each in places if each)}
        bench.revive()


def _sockets(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if (Path(folder) / name).is_socket()}
