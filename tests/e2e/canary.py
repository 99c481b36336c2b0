"""A secret that is easy to recognise, every form in which it could turn up, and those whom the product tells."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

from tests.observe.peers import HttpPeer, MailPeer

CORE = "Xq7Zk9Wv3Rj5"
CANARY = f"""{CORE}é "q' \\o:{{t}}#%$;{CORE[::-1]}"""
WRONG = CANARY.replace("7", "4")


def disguises(secret: str) -> dict[str, bytes]:
    """The forms in which the secret could turn up, made without the product's own help."""
    raw = secret.encode()
    backslashed = secret.replace("\\", "\\\\")
    forms = {
        "plain": secret,
        "core": secret[: len(CORE)],
        "reversed core": secret[-len(CORE) :],
        "json": json.dumps(secret)[1:-1],
        "json unicode": json.dumps(secret, ensure_ascii=False)[1:-1],
        "url": quote(secret, safe=""),
        "url plus": quote_plus(secret),
        "repr": repr(secret)[1:-1],
        "ascii": ascii(secret)[1:-1],
        "bytes repr": repr(raw)[2:-1],
        "option file": backslashed.replace('"', '\\"'),
        "pgpass": backslashed.replace(":", "\\:"),
        "conninfo": backslashed.replace("'", "\\'"),
        "sql": secret.replace("'", "''"),
        "hex": raw.hex(),
    }
    found = {name: text.encode() for name, text in forms.items()}
    for shift in range(3):
        # The characters that the secret alone decides, whatever stands before and after it.
        whole = base64.b64encode(b"\0" * shift + raw)
        found[f"base64 at {shift}"] = whole[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
    return found


_FORMS = {f"{which} {name}": form for which, secret in (("right", CANARY), ("wrong", WRONG))
          for name, form in disguises(secret).items()}  # fmt: skip


def leaks(text: bytes) -> list[str]:
    """The disguises that occur."""
    return [name for name, form in _FORMS.items() if form in text]


@dataclass
class Ears:
    """Those whom the product tells: a mail server, and one for webhooks, pings and pushes that repeats what it is asked."""

    mail: MailPeer
    http: HttpPeer

    @property
    def config(self) -> dict[str, Any]:
        email = {
            "enabled": True, "smtp_host": "127.0.0.1", "smtp_port": self.mail.port, "use_tls": False,
            "username": "mailer", "password": "env:CANARY_PASSWORD", "from_address": "backup@example.com",
            "success_recipients": ["glad@example.com"], "error_recipients": ["ops@example.com"],
        }  # fmt: skip
        hook = {"url": "env:CANARY_HOOK", "secret": "env:CANARY_PASSWORD", "events": ["*"]}
        ping = {"success_url": "env:CANARY_PING", "failure_url": "env:CANARY_PING"}
        return {"retry_wait": "1s", "email": email, "webhooks": [hook], "ping": ping}

    @property
    def environ(self) -> dict[str, str]:
        return {
            "CANARY_PASSWORD": CANARY,
            "CANARY_HOOK": self.http.url(f"/hooks/{CORE}?token={CORE[::-1]}"),
            "CANARY_PING": self.http.url(f"/ping/{CORE}"),
            "VYA_MONITORING__PROMETHEUS__PUSHGATEWAY_URL": f"http://pusher:{CORE}@127.0.0.1:{self.http.port}",
        }

    def heard(self) -> Iterator[bytes]:
        """All that they were told, but for what is meant to let us in."""
        for each in self.mail.mails:
            yield each.raw
            yield "\n".join((each.subject, each.part("plain"), each.part("html"))).encode()
        for request in self.http.requests:
            yield request.body

    def check(self) -> None:
        """There was something to be found: each secret was used where it belongs, and everybody heard something."""
        assert ("mailer", CANARY) in self.mail.logins
        assert {address for each in self.mail.mails for address in each.recipients} == {
            "glad@example.com",
            "ops@example.com",
        }
        pushed = [each for each in self.http.requests if each.method == "PUT"]
        assert pushed
        assert all(base64.b64encode(f"pusher:{CORE}".encode()).decode() in str(each.headers) for each in pushed)
        for path in (f"/hooks/{CORE}?token={CORE[::-1]}", f"/ping/{CORE}"):
            assert path in self.http.paths
