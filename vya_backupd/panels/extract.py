"""Single tables of a backup as SQL, streamed to an operator."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from vya_backupd.api.access import Role
from vya_backupd.api.route import Asked, Route, Stream
from vya_backupd.operations.extract import extract
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.site import Site


class ExtractPanel:
    """Implements ``api.route.Panel``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[Route | Stream]:
        """See ``Panel``. Rows are read by operators alone, as a restore lets them."""
        return [Stream("POST", "/v1/extract", Role.OPERATOR, self._extract)]

    def _extract(self, asked: Asked) -> AsyncGenerator[bytes]:
        return extract(self._site, RestoreRequest.parse(asked.body), asked.actor)
