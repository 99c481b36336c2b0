"""All targets by name."""

from __future__ import annotations

from tests.fuzz import asked, documents, files, texts, words

TARGETS = {
    target.name: target
    for target in (*files.TARGETS, *documents.TARGETS, *texts.TARGETS, *words.TARGETS, *asked.TARGETS)
}
