"""Run one target for a time: ``python -m tests.fuzz TARGET --seconds 3600``.

With atheris, mutation is guided by coverage of the product's own code, and memory is bounded; without it, seeds are
mutated blindly. Inputs that led somewhere new are kept in ``.cache/fuzz/TARGET/corpus`` and are where the next run
begins; one that broke a promise lies beside that folder as ``crash-*``, and the program ends with a status other than 0.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.target import Target

_HOME = Path(__file__).parents[2] / ".cache" / "fuzz"
_MEMORY_MB = 1024
_HANGS_AFTER = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", nargs="?", help="which one; all names are shown without")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--input", type=Path, help="run this one input, and show what happens")
    parser.add_argument("--blind", action="store_true", help="without atheris")
    chosen = parser.parse_args()
    wanted = chosen.target is not None and chosen.input is None and not chosen.blind
    guided = wanted and importlib.util.find_spec("atheris") is not None
    target = _load(chosen.target, guided=guided)
    if target is None:
        return 0 if chosen.target is None else 2
    if chosen.input is not None:
        target.check(chosen.input.read_bytes())
        return 0
    corpus = _HOME / target.name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in [*target.seeds(), *(path.read_bytes() for path in target.crashes())]:
        (corpus / hashlib.sha256(seed).hexdigest()[:32]).write_bytes(seed)
    return _guided(target, corpus, chosen.seconds) if guided else _blind(target, corpus, chosen.seconds)


def _load(name: str | None, *, guided: bool) -> Target | None:
    if guided:
        import atheris

        with atheris.instrument_imports(include=["vya_backupd"]):
            from tests.fuzz.targets import TARGETS
    else:
        from tests.fuzz.targets import TARGETS
    if name not in TARGETS:
        print("\n".join(TARGETS), file=sys.stderr if name else sys.stdout)
        return None
    return TARGETS[name]


def _guided(target: Target, corpus: Path, seconds: int) -> int:
    import atheris

    words = corpus.parent / "words.dict"
    spelled = ("".join(f"\\x{byte:02X}" for byte in word[:64]) for word in target.words)
    words.write_text("".join(f'"{word}"\n' for word in spelled if word))
    from tests.fuzz.target import LONGEST_INPUT

    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-timeout={_HANGS_AFTER}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={corpus.parent}/",
        f"-dict={words}",
        "-print_final_stats=1",
        "-verbosity=1",
        str(corpus),
    ]
    atheris.Setup(arguments, target.run)
    atheris.Fuzz()
    return 0


def _blind(target: Target, corpus: Path, seconds: int) -> int:
    from tests.fuzz.target import mutated

    seed = int(os.environ.get("VYA_FUZZ_SEED", "0")) or random.randrange(1 << 32)
    chance, seeds = random.Random(seed), [path.read_bytes() for path in sorted(corpus.iterdir())]
    began, runs = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        data = mutated(chance, seeds, target.words)
        try:
            target.check(data)
        except BaseException:
            found = corpus.parent / f"crash-{hashlib.sha256(data).hexdigest()[:32]}"
            found.write_bytes(data)
            print(f"{found} breaks it, after {runs} inputs; VYA_FUZZ_SEED={seed}", file=sys.stderr)
            raise
        runs += 1
    print(f"{target.name}: {runs} inputs in {seconds} s, VYA_FUZZ_SEED={seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
