"""Sizes and speeds of the codec choice against gzip: ``python -m tests.benchmarks.codec [MIB [CORPUS ...]]`` prints the tables.

Every corpus is one object in segments of 2 MiB. Sizes are those of whole files, with labels and seal, divided by that of
``gzip -N``; speed is of one thread, in MB of dump per second of CPU, sampling included; ``gzip -N`` is measured by the
program's own output and CPU.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections import Counter

from tests.benchmarks.corpora import CORPORA
from tests.dumpfile import samples
from vya_backupd.dumpfile.chooser import new_chooser
from vya_backupd.dumpfile.codec import deflate
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.dumpfile.writer import FileWriter
from vya_backupd.model.backup import Section
from vya_backupd.model.file_codec import FileCodec

SEGMENT = 2 << 20


def ours(text: bytes, level: int, form: FileCodec) -> tuple[int, float, Counter[str]]:
    """File size, CPU seconds, and how many segments each codec took."""
    chooser, file, chosen = new_chooser(form, level), FileWriter(codec=form), Counter[str]()
    begun = time.thread_time()
    file.first(samples.facts(compression_level=level, codec=form))
    for at in range(0, len(text), SEGMENT):
        piece = text[at : at + SEGMENT]
        segment = RawSegment(Section.DATA, "t", [piece], len(piece))
        codec = chooser.choose(segment)
        chosen[str(codec)] += 1
        file.add(segment, deflate(segment, codec))
    file.last(samples.closing())
    return file.size, time.thread_time() - begun, chosen


def gzip(text: bytes, level: int) -> tuple[int, float]:
    """The program's output size and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = len(subprocess.run(["gzip", f"-{level}"], input=text, capture_output=True, check=True).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return size, after.ru_utime - before.ru_utime


def main() -> None:
    """Print one table per corpus, in Markdown."""
    size = int(sys.argv[1]) << 20 if len(sys.argv) > 1 else 24 << 20
    for name, make in CORPORA.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        text = make(size)
        print(f"\n`{name}`, {len(text) / 1e6:.0f} MB\n")
        print("| level | size | MB/s | zstd size | zstd MB/s | gzip MB/s | codecs |\n|---|---|---|---|---|---|---|")
        for level in range(1, 10):
            plain, slow = gzip(text, level)
            packed, fast, chosen = ours(text, level, FileCodec.GZIP)
            framed, faster, _ = ours(text, level, FileCodec.ZSTD)
            codecs = ", ".join(f"{codec} ×{times}" for codec, times in chosen.most_common())
            speed, zstd_speed, gzip_speed = (f"{len(text) / 1e6 / seconds:.0f}" for seconds in (fast, faster, slow))
            sizes = f"{packed / plain:.3f} | {speed} | {framed / plain:.3f} | {zstd_speed}"
            print(f"| {level} | {sizes} | {gzip_speed} | {codecs} |", flush=True)


if __name__ == "__main__":
    main()
