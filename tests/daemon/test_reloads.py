"""What is said of a reload that was refused, and when it is said no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vya_backupd.config.schema_notifications import Email
from vya_backupd.daemon.reloads import Reloads
from vya_backupd.errors import ConfigError
from vya_backupd.observe.notify_rules import ALERT, mail_topic

NIGHT = datetime(2026, 1, 9, 2, 0, tzinfo=UTC)
EMAIL = Email(enabled=True, smtp_host="mail", from_address="a@example.com", error_recipients=("ops@example.com",))


def test_a_refusal_is_told_mailed_and_stays_until_a_good_one_comes() -> None:
    reloads = Reloads(NIGHT)
    event = reloads.was_refused(NIGHT + timedelta(hours=1), ConfigError("line 3:\n  no such key"))
    assert event.data == {"error_code": "invalid_config", "error": "line 3:\n  no such key"}
    assert mail_topic(event, EMAIL) == ALERT
    assert reloads.complaint == (
        "the reload of 2026-01-09 03:00 UTC was refused, the configuration of 2026-01-09 02:00 UTC is in force:"
        " invalid_config: line 3: no such key"
    )
    reloads.was_refused(NIGHT + timedelta(hours=2), ValueError("x" * 2000))
    assert reloads.complaint.startswith("the reload of 2026-01-09 04:00 UTC")
    assert len(reloads.complaint) < 700
    well = reloads.went_well(NIGHT + timedelta(hours=3))
    assert (well.name, reloads.in_force_since) == ("config.reloaded", well.at)
    assert reloads == Reloads(well.at)
    assert mail_topic(well, EMAIL) is None
