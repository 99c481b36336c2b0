"""The log of endurance in words and tables."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from tests.benchmarks.measure import table
from tests.endurance.verdict import HOUR, Record, mistakes, runs, trends


def report(records: Sequence[Record]) -> tuple[str, bool]:
    """What became of each run in a log, and whether all of them endured."""
    told = [_told(run) for run in runs(records)]
    return "\n\n".join(text for text, _ in told), all(ok for _, ok in told) and bool(told)


def _told(run: Sequence[Record]) -> tuple[str, bool]:
    wrong = mistakes(run)
    samples = [record for record in run if record["type"] == "sample"]
    restores = [record for record in run if record["type"] == "restore" and record.get("compared")]
    failures = [record for record in run if record["type"] == "failure"]
    causes = Counter(record["name"] for record in run if record["type"] == "cause")
    ended = next((record for record in run if record["type"] == "ended"), None)
    lines = [
        f"{run[-1]['at'] / HOUR:.2f} of {run[0]['seconds'] / HOUR:.2f} hours" + ("" if ended else ", not at its end")
    ]
    lines.append(f"restored and compared: {len(restores)}; operations that failed: {len(failures)}")
    if ended:
        lines.append(f"operations: {ended['operations']}; mailed {ended['mailed']}, webhooks {ended['hooked']}")
    lines.append("causes: " + (", ".join(f"{count} x {name}" for name, count in causes.items()) or "none"))
    rows = [
        [
            each.bound.figure,
            *(f"{value:.1f}" for value in (each.first, each.last, each.most, each.an_hour)),
            f"{each.bound.an_hour:g}",
            "yes" if each.ok else "NO",
        ]
        for each in trends(run)
    ]
    heads = ["figure", "first", "last", "most", "growth in an hour", "allowed", "flat"]
    lines += ["", table(heads, rows), ""]
    if samples:
        first, last = samples[0], samples[-1]
        lines.append(f"catalog: {first['catalog']:.1f} MB, then {last['catalog']:.1f} MB")
        lines.append(
            f"operations on record: at most {max(each['operations'] for each in samples)}, last {last['operations']}"
        )
        lines.append(f"backups in the store: at most {max(each['store'] for each in samples)}, last {last['store']}")
        lines.append(f"answer of the event loop: median {statistics.median(each['lag'] for each in samples):.1f} ms")
    lines += ["", "ENDURED" if not wrong else "WRONG:", *wrong]
    return "\n".join(lines), not wrong
