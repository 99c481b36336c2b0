"""No secret of a configuration is overlooked."""

from __future__ import annotations

from pathlib import Path

import yaml

from vya_backupd.config.load import load
from vya_backupd.config.secrets_in import secret_parts, secrets_in


def test_every_secret_of_a_configuration_is_found(tmp_path: Path) -> None:
    email = {"username": "mailer", "password": "mail-canary"}
    hook = {"url": "https://example.com/hooks/T0PS3CRETT0KEN?k=1", "secret": "hook-canary"}
    ping = {"success_url": "https://example.com/ping-canary"}
    document = {
        "application": {"environment": "dev"},
        "catalog": {"url": "postgresql+psycopg://u:catalog-canary@h/db"},
        "notifications": {"email": email, "webhooks": [hook], "ping": ping},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    found = [reference.reveal().reveal() for reference in secrets_in(load(path))]
    assert sorted(found) == sorted(
        [document["catalog"]["url"], email["password"], hook["url"], hook["secret"], ping["success_url"]]  # type: ignore[index]
    )


def test_of_an_address_the_parts_that_give_access_are_secrets_too() -> None:
    assert secret_parts("plain") == ("plain",)
    url = "postgresql+psycopg://u:pa55@h/db"
    assert secret_parts(url) == (url, "pa55")
    hook = "https://u:pa55@example.com/hooks/T0PS3CRETT0KEN/fail?token=abcdefGhijkl&k=1"
    assert secret_parts(hook) == (hook, "T0PS3CRETT0KEN", "abcdefGhijkl", "pa55")
    ping = "https://hc.example.com/ping/6f1c09d2-6e1b-4f0a"
    assert secret_parts(ping) == (ping, "6f1c09d2-6e1b-4f0a")
    words = "https://example.com/hooks/notifications?channel=administrators"
    assert secret_parts(words) == (words,)
    assert secret_parts("sqlite+aiosqlite:////var/lib/x/catalog.db")[1:] == ()
