"""Which backups work that runs or waits is going to read: nothing may delete them meanwhile.

``Site.in_use`` knows what is being read now. Between the moment at which somebody asks for a restore and the moment at
which its file is opened, the operation may wait for hours behind others; so its request is looked at as well. Where a
request leaves open which backup it will take, all that it may take are claimed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from vya_backupd.model.backup import BackupType, Outline
from vya_backupd.model.operation import Operation, OperationKind, State
from vya_backupd.operations.site import Site

_READERS = (OperationKind.RESTORE, OperationKind.VERIFY)
_UNFINISHED = {State.RUNNING: "runs", State.QUEUED: "waits"}


async def claimed(site: Site, backups: Sequence[Outline]) -> dict[str, str]:
    """Of these backups, the ids of those that cannot go now, and why."""
    found = dict.fromkeys(site.in_use, "in use: it is being read")
    for kind in _READERS:
        for state, word in _UNFINISHED.items():
            for operation in await site.catalog.operations.list(kind=kind, state=state):
                reason = f"in use: {kind} {operation.id} {word}"
                taken = _taken(site, operation, backups)
                found = dict.fromkeys(taken, reason) | found
    return found


def _taken(site: Site, operation: Operation, backups: Sequence[Outline]) -> list[str]:
    """The ids of those that the operation may read."""
    request = operation.request
    if wanted := request.get("backup_id"):
        return [each.id for each in backups if each.id.startswith(str(wanted))]
    if file := request.get("file"):
        # No link leads on from below the base path, so paths tell.
        path = os.path.relpath(os.path.realpath(str(file)), os.path.realpath(site.store.base_path))
        return [each.id for each in backups if each.path == path]
    instance, database = request.get("instance"), request.get("database")
    return [
        each.id
        for each in backups
        if each.instance == instance and (database in {None, each.database} or each.type is BackupType.GLOBALS)
    ]
