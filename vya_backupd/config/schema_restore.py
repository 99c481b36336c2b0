"""The part of ``config.yaml`` that is about restores."""

from __future__ import annotations

from pydantic import Field

from vya_backupd.config.fields import Section


class Restore(Section):
    """How backups are restored."""

    sessions: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Sessions that restore one database at the same time; by its size and the cores when unset. 1 gives the "
        "client the dump as it is.",
    )
