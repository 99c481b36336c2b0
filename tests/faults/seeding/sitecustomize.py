"""Seeds a bug into a daemon before it runs a line: the folder is put on the daemon's PYTHONPATH by tests alone.

``VYA_MUTANT`` names the bug (``tests.faults.mutants``). Every other program that meets this file passes it by.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if "vya_backupd" in sys.orig_argv and os.environ.get("VYA_MUTANT"):
    sys.path.append(str(Path(__file__).parents[3]))
    from tests.faults.mutants import MUTANTS

    MUTANTS[os.environ["VYA_MUTANT"]]()
