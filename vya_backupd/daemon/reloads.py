"""How the last reload of the configuration ended: a refused one is shown until a good one comes, or the next start."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from datetime import datetime

from vya_backupd.errors import VyaError
from vya_backupd.model.event import Event
from vya_backupd.policy.health import moment

_SHOWN = 500
"""Characters of what is wrong; the event and the log have all of it."""


@dataclass(slots=True)
class Reloads:
    """``in_force_since``: when the configuration was read that is in force. A start counts as a reload that went well."""

    in_force_since: datetime
    complaint: str | None = None
    """Why the last one was refused, in words; None when it went well."""

    def went_well(self, at: datetime) -> Event:
        """What was read then is in force. Returns the event that tells it."""
        self.in_force_since, self.complaint = at, None
        return Event("config.reloaded", at)

    def was_refused(self, at: datetime, error: Exception) -> Event:
        """What was read before stays in force. Returns the event that tells it."""
        code = error.code if isinstance(error, VyaError) else "internal"
        said = error.message if isinstance(error, VyaError) else f"{type(error).__name__}: {error}"
        self.complaint = (
            f"the reload of {moment(at)} was refused, the configuration of {moment(self.in_force_since)} is in force:"
            f" {code}: {textwrap.shorten(said, _SHOWN, placeholder=' ...')}"
        )
        return Event("config.reload_refused", at, data={"error_code": code, "error": said})
