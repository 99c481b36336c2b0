"""Templates: ours say what an operator needs at night, the operator's own come first, and a broken one breaks nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vya_backupd.config.schema_notifications import Templates
from vya_backupd.observe import mail_sample
from vya_backupd.observe.mail_message import alert_subject, digest_subject, subject_of
from vya_backupd.observe.mail_text import ROLES, SHIPPED, Stationery
from vya_backupd.observe.mail_words import change, span
from vya_backupd.observe.redaction import forget_secrets, register_secret

CANARY = "Zq4-\"canary'-8Wv&<"


def stationery(folder: Path, **names: str) -> Stationery:
    return Stationery(Templates(folder=folder, **names), "America/Sao_Paulo")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def secret() -> Iterator[str]:
    register_secret(CANARY)
    yield CANARY
    forget_secrets()


def failure() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(json.dumps(mail_sample.of("error")[0]))
    return facts


def test_each_mail_can_be_made_of_all_facts_and_of_the_fewest(folder: Path) -> None:
    assert list(stationery(folder).check()) == []
    for role in ROLES:
        for facts in mail_sample.of(role):
            done = stationery(folder).render(role, facts)
            assert done.mistakes == []
            assert "site-a" in done.plain
            assert "site-a" in done.html
            assert facts["subject"] in done.plain


def test_a_failure_says_what_where_why_and_what_next(folder: Path) -> None:
    done = stationery(folder).render("error", failure())
    for said in (
        "prod-pg",
        "shop",
        "users and roles",
        "connection_refused",
        "nobody listens on 10.0.0.5:5432",
        "Is the server up?",
        "2026-01-08 02:00:00 -03",
        "1 d ago",
        "vyactl status",
        "20260109-050000-abcdef",
        "2.0 KiB",
        "last time 11 s",
    ):
        assert said in done.plain, said
        assert said in done.html, said


def test_a_database_that_never_had_a_backup_is_shouted(folder: Path) -> None:
    facts = failure()
    facts["steps"][0]["last_good_at"] = None
    done = stationery(folder).render("error", facts)
    assert "NO GOOD BACKUP" in done.plain
    assert "no good backup" in done.html


def test_a_hostile_name_is_text_and_nothing_else(folder: Path) -> None:
    facts = failure()
    facts["steps"][0]["database"] = "<script>alert(1)</script>\x1b[2J\r{{ 7 * 7 }}"
    done = stationery(folder).render("error", facts)
    assert "<script>" not in done.html
    assert "&lt;script&gt;" in done.html
    assert "{{ 7 * 7 }}" in done.plain
    assert not {"\x1b", "\r"} & set(done.plain + done.html)


def test_no_secret_gets_into_either_part(folder: Path, secret: str) -> None:
    facts = failure()
    facts["steps"][0]["error"] = {"code": "login_refused", "message": f"password {secret} is wrong", "hint": secret}
    facts["steps"][0]["database"] = f"db {secret}"
    done = stationery(folder).render("error", facts)
    for part in (done.plain, done.html):
        assert "canary" not in part
        assert "login_refused" in part


def test_the_operators_own_template_comes_first(folder: Path) -> None:
    (folder / "mine.html").write_text("<b>{{ operation.kind }} {{ operation.state }}</b>{% include 'sub.html' %}")
    (folder / "sub.html").write_text("on {{ site.hostname }}")
    done = stationery(folder, error="mine.html").render("error", failure())
    assert (done.html, done.mistakes) == ("<b>backup failed</b>on site-a", [])
    assert "connection_refused" in done.plain
    (folder / "mine.txt").write_text("short: {{ subject }}")
    done = stationery(folder, error=str(folder / "mine.html")).render("error", failure())
    assert (done.html[:8], done.plain) == ("<b>backu", "short: backup failed")


def test_a_part_of_ours_can_be_replaced_alone(folder: Path) -> None:
    layout = (SHIPPED / "layout.html").read_text().replace("<body ", "<body data-house=x ")
    (folder / "layout.html").write_text(layout)
    assert "data-house" in stationery(folder).render("success", mail_sample.of("success")[0]).html


@pytest.mark.parametrize(
    "text",
    [
        "{% if %}",
        "{{ operation.nothing.of_that }}",
        "{{ 1 / 0 }}",
        "{% include 'missing.html' %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ steps.append(1) }}",
        "{% for n in range(10 ** 9) %}{% endfor %}",
    ],
)
def test_a_broken_template_is_found_beforehand_and_breaks_no_mail(folder: Path, text: str) -> None:
    (folder / "backup_error.html").write_text(text)
    [mistake] = stationery(folder).check()
    assert (mistake.code, mistake.retryable) == ("invalid_template", False)
    assert "backup_error.html" in mistake.message
    done = stationery(folder).render("error", failure())
    assert "connection_refused" in done.html
    assert [each.code for each in done.mistakes] == ["invalid_template"]
    assert "backup_error.html" in done.html.partition("Note:")[2]


def test_a_name_that_does_not_exist_is_a_mistake_beforehand_and_empty_in_a_mail(folder: Path) -> None:
    (folder / "backup_error.html").write_text("<p>{{ operation.strat }}</p>")
    assert "strat" in next(stationery(folder).check()).message
    assert stationery(folder).render("error", failure()).html == "<p></p>"


def test_a_template_that_is_not_there(folder: Path) -> None:
    assert "mine.html" in next(stationery(folder, success="mine.html").check()).message
    done = stationery(folder, success="mine.html").render("success", mail_sample.of("success")[0])
    assert "Protected now" in done.html
    assert done.mistakes


def test_subjects() -> None:
    facts = failure()
    site = facts["site"]
    assert subject_of(site, facts) == "[site-a] backup FAILED: prod-pg (2 of 2 databases)"
    well = mail_sample.of("success")[0]
    well["counts"]["succeeded"] = 2
    assert subject_of(site, well) == "[site-a] backup succeeded: prod-pg"
    assert digest_subject(site, [facts, facts]) == "[site-a] 2 operations FAILED on 1 instances"
    both = [facts, {"event": mail_sample.of("alert")[0]["event"]}]
    assert digest_subject(site, both) == "[site-a] 2 failures and alerts on 1 instances"
    assert alert_subject(site, mail_sample.of("alert")[0]["event"]) == "[site-a] slot.missed: prod-pg"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.44, "0.4 s"),
        (59, "59 s"),
        (60, "1 min"),
        (187, "3 min 7 s"),
        (7620, "2 h 7 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_spans(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [(2, 1, "+100 %"), (1, 2, "-50 %"), (5, 5, "same"), (5, 0, ""), (None, 5, ""), (5, None, "")],
)
def test_changes(now: float | None, before: float | None, text: str) -> None:
    assert change(now, before) == text
