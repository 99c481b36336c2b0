"""What one dump tells the next: savings are spent before they are made, and never more than can be borne."""

from __future__ import annotations

import subprocess

import pytest

from tests.benchmarks.corpora import CORPORA
from vya_backupd.dumpfile.codec import deflate
from vya_backupd.dumpfile.codec_choice import CodecChooser
from vya_backupd.dumpfile.foretold import Foretold, cost_of
from vya_backupd.dumpfile.segment import RawSegment
from vya_backupd.model.backup import Section

_SIZE = 5 << 20
_SEGMENT = 512 << 10
_Dump = list[tuple[str, bytes]]


def _dump(*names: str) -> _Dump:
    texts = {name: CORPORA[name](_SIZE) for name in names}
    return [(name, text[at : at + _SEGMENT]) for name, text in texts.items() for at in range(0, len(text), _SEGMENT)]


@pytest.fixture(scope="module")
def late() -> _Dump:
    """A table that needs a slow compressor, and behind it one that saves much with any."""
    return _dump("inserts", "hexadecimal")


def _choices(dump: _Dump, foretold: Foretold | None = None) -> tuple[list[str], float, int, Foretold]:
    """The codecs, what they cost, the size of all, and what was learned."""
    chooser = CodecChooser(6, 0, foretold)
    codecs, price, size = [], 0.0, 0
    for name, text in dump:
        segment = RawSegment(Section.DATA, name, [text], len(text))
        codec = chooser.choose(segment)
        codecs.append(str(codec))
        price += cost_of(codec) * len(text)
        size += len(deflate(segment, codec).data) + 40
    return codecs, price, size, chooser.learned()


def _gzipped(dump: _Dump) -> int:
    text = b"".join(text for _, text in dump)
    return len(subprocess.run(["gzip", "-6"], input=text, capture_output=True, check=True).stdout)


def test_what_a_late_table_saves_is_spent_on_those_before_it(late: _Dump) -> None:
    _, dear, small, learned = _choices(late)
    told = Foretold.from_text(learned.to_text())
    assert told is not None
    assert set(told.objects) == {"inserts", "hexadecimal"}
    _, cheap, size, _ = _choices(late, told)
    assert cheap < 0.7 * dear
    assert small < size <= 1.02 * _gzipped(late)


def test_what_has_gone_since_costs_no_more_than_a_bound(late: _Dump) -> None:
    _, _, _, learned = _choices(late)
    rest = [(name, text) for name, text in late if name == "inserts"]
    _, _, size, _ = _choices(rest, learned)
    told = sum(each.raw_size * each.reference for each in learned.objects.values())
    assert size <= 1.02 * _gzipped(rest) + 0.05 * told


def test_what_was_learned_at_another_level_counts_for_nothing(late: _Dump) -> None:
    plain, _, _, learned = _choices(late)
    other = Foretold(9, learned.objects)
    assert _choices(late, other)[0] == plain


def test_a_text_that_is_none_of_ours_tells_nothing() -> None:
    whole = _choices(_dump("hexadecimal"))[3].to_text()
    assert Foretold.from_text(whole) is not None
    wrong = [
        "",
        "[]",
        whole[:-1],
        whole.replace('"ratios": [[', '"ratios": [["brotli", 1, 0.5], ['),
        whole.replace('"reference": ', '"reference": -'),
        whole.replace('"probed": ', '"probed": 1e999, "was": '),
        '{"level": 6, "server_bytes": 0, "objects": {"t": {"ratios": [], "raw_size": 1}}}',
        "[" * 100_000,
    ]
    assert [Foretold.from_text(text) for text in wrong] == [None] * len(wrong)
