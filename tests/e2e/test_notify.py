"""A whole installation that tells people: the right mails to the right people, whatever is killed in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.observe.peers import HttpPeer, MailPeer, Manners, Taken
from tests.waiting import until
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

CANARY = "c4nary-Hq8v-Zt3w"
WRONG = "wr0ng-Hq8v-Zt3w"


@pytest.fixture
def mail() -> Iterator[MailPeer]:
    with MailPeer(Manners(password=CANARY)) as peer:
        yield peer


@pytest.fixture
def http() -> Iterator[HttpPeer]:
    with HttpPeer() as peer:
        yield peer


@pytest.fixture
def product(
    any_postgresql: PrivateServer, mail: MailPeer, http: HttpPeer, tmp_path: Path, fresh_name: str
) -> Iterator[Product]:
    """One instance that lets us in, and one that does not."""
    server = any_postgresql
    server.create_database(fresh_name)
    good = instance(server, "good", database=[fresh_name])
    email: dict[str, Any] = {
        "enabled": True,
        "smtp_host": "127.0.0.1",
        "smtp_port": mail.port,
        "use_tls": False,
        "username": "mailer",
        "password": CANARY,
        "from_address": "Backups <backup@example.com>",
        "success_recipients": ["glad@example.com"],
        "error_recipients": ["ops@example.com"],
    }
    notifications = {
        "retry_wait": "200ms",
        "email": email,
        "webhooks": [{"url": http.url(f"/hook/{CANARY}"), "secret": CANARY}],
        "ping": {"success_url": http.url("/well/{instance}"), "failure_url": http.url("/badly/{instance}")},
    }
    made = Product(
        tmp_path,
        [good, good | {"id": "bad", "password": WRONG}],
        servers=[server],
        config={"notifications": notifications},
    )
    yield made
    made.stop()
    server.drop_database(fresh_name)


def told(mail: MailPeer, operation: str) -> list[Taken]:
    return [each for each in mail.mails if operation in each.part("plain")]


def test_mails_webhooks_and_pings_of_a_daemon(product: Product, mail: MailPeer, http: HttpPeer) -> None:
    product.start()
    well = product.ok("backup", "--instance", "good")["operation"]["id"]
    failed = product.ctl("backup", "--instance", "bad", "--output", "json")
    assert failed.code == 1
    badly = failed.json["operation"]["id"]
    [success] = until(lambda: told(mail, well))
    [error] = until(lambda: told(mail, badly))
    assert (success.recipients, success.subject) == (["glad@example.com"], "[testhost] backup succeeded: good")
    assert error.recipients == ["ops@example.com"]
    assert error.subject.startswith("[testhost] backup FAILED: bad")
    for kind in ("plain", "html"):
        assert "login_refused" in error.part(kind)
        assert "vyactl operations show" in error.part(kind)
        assert "users and roles" in success.part(kind)
    until(lambda: {"/well/good", "/badly/bad"} <= set(http.paths))
    until(lambda: http.paths.count(f"/hook/{CANARY}") == 2)

    until(lambda: len([each for each in product.events("notification.sent") if each["channel"] == "email"]) == 2)
    until(lambda: len(product.ok("audit", "show", "--kind", "operation.finished")["audit"]) == 2)
    said = tellings(product, http, badly) | {"client": end_of(failed.json)}
    assert said == dict.fromkeys(("client", "history", "log", "webhook", "audit"), ("failed", "login_refused"))
    metrics = product.get("/metrics")[1].splitlines()
    bad = 'database_id="bad",database_type="postgresql"'
    assert f'vya_backup_executions_total{{{bad},status="failed"}} 1.0' in metrics
    assert f'vya_backup_errors_total{{{bad},error_type="login_refused"}} 1.0' in metrics
    assert f"vya_backup_last_status{{{bad}}} 0.0" in metrics

    # A daemon that dies with a mail that nobody took.
    mail.is_down = True
    lost = product.ctl("backup", "--instance", "bad", "--output", "json").json["operation"]["id"]
    product.kill()
    assert told(mail, lost) == []
    mail.is_down = False
    product.start()
    assert until(lambda: told(mail, lost))[0].recipients == ["ops@example.com"]
    assert len(told(mail, badly)) == 1

    everything = [each.raw + each.part("plain").encode() + each.part("html").encode() for each in mail.mails]
    everything += [each.body for each in http.requests]
    everything += [product.log().encode(), product.ctl("config", "show").out.encode()]
    everything += [product.ctl("operations", "list", "--output", "json").out.encode()]
    product.stop()
    everything += [path.read_bytes() for path in product.state_dir.rglob("*") if path.is_file()]
    for text in everything:
        assert CANARY.encode() not in text
        assert WRONG.encode() not in text


def tellings(product: Product, http: HttpPeer, operation: str) -> dict[str, tuple[str, str]]:
    """What each channel beside mails and metrics says of an operation's end: its state and its one error."""
    (logged,) = [each for each in product.events("operation.finished") if each["operation"] == operation]
    audit = product.ok("audit", "show", "--kind", "operation.finished")["audit"]
    (audited,) = [each for each in audit if each["operation"] == operation]
    hooks = [json.loads(each.body) for each in http.requests if each.path.startswith("/hook")]
    (hook,) = [each for each in hooks if each["operation"]["id"] == operation]
    return {
        "history": end_of(product.ok("operations", "show", operation)),
        "log": (logged["state"], *logged["instances"]["bad"]["errors"]),
        "webhook": end_of(hook),
        "audit": (audited["result"], *audited["facts"]["instances"]["bad"]["errors"]),
    }


def end_of(record: dict[str, Any]) -> tuple[str, str]:
    """The state of an operation and the error of its one step."""
    (step,) = record["steps"]
    return record["operation"]["state"], step["error"]["code"]


def test_notify_test_says_what_the_other_side_says(product: Product, mail: MailPeer, http: HttpPeer) -> None:
    product.start()
    found = product.ok("notify", "test")["notifications"]
    assert [(each["channel"], each["target"], each["ok"]) for each in found] == [
        ("email", "ops@example.com", True),
        ("email", "glad@example.com", True),
        ("webhook", f"http://127.0.0.1:{http.port}/***", True),
        ("ping", f"http://127.0.0.1:{http.port}/***", True),
        ("ping", f"http://127.0.0.1:{http.port}/***", True),
    ]
    assert found[0]["answer"] == "taken as 1"
    assert http.paths == [f"/hook/{CANARY}", "/well/good", "/well/bad"]
    assert json.loads(http.requests[0].body)["event"]["name"] == "notification.test"
    done = product.ctl("notify", "test", "--recipient", "me@example.com")
    assert (done.code, mail.mails[-1].recipients) == (0, ["me@example.com"])
    assert "taken as 3" in done.out
    mail.manners.answers["RCPT"] = lambda address: "550 gone" if address.startswith("glad") else None
    some = product.ctl("notify", "test", "--channel", "email")
    assert some.code == 3
    assert "550 gone" in some.err
    mail.is_down = True
    none = product.ctl("notify", "test", "--channel", "email", "--output", "json")
    assert none.code == 1
    assert {each["error"]["code"] for each in none.json["notifications"]} == {"mail_unreachable"}
    assert product.ctl("notify", "test", "--recipient", "a b").code == 2
    assert CANARY not in done.out + some.err + none.out


def test_work_without_a_daemon_has_told_everybody_when_it_ends(
    product: Product, mail: MailPeer, http: HttpPeer
) -> None:
    assert product.ctl("backup", "--standalone", "--instance", "good").code == 0
    assert product.ctl("backup", "--standalone", "--instance", "bad").code == 1
    assert [each.recipients for each in mail.mails] == [["glad@example.com"], ["ops@example.com"]]
    assert http.paths.count(f"/hook/{CANARY}") == 2
    assert {"/well/good", "/badly/bad"} <= set(http.paths)


def test_a_broken_template_is_told_by_config_validate(product: Product, tmp_path: Path) -> None:
    (tmp_path / "backup_error.html").write_text("{{ operation.strat }}")
    product.settings["notifications"]["email"]["templates"] = {"folder": str(tmp_path)}
    product.write_config()
    refused = product.ctl("config", "validate", "--output", "json")
    assert (refused.code, refused.json["error"]["code"]) == (78, "invalid_template")
    assert "backup_error.html" in refused.json["error"]["message"]
    (tmp_path / "backup_error.html").unlink()
    fine = product.ok("config", "validate")
    assert "plain text" in fine["warnings"][-1]
