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
                taken = [each.id for each in backups if _may_read(site, operation, each)]
                found = dict.fromkeys(taken, reason) | found
    return found


def _may_read(site: Site, operation: Operation, backup: Outline) -> bool:
    request = operation.request
    if wanted := request.get("backup_id"):
        return backup.id.startswith(str(wanted))
    if file := request.get("file"):
        return os.path.realpath(str(file)) == os.path.realpath(site.store.absolute(backup.path))
    if request.get("instance") != backup.instance:
        return False
    return request.get("database") in {None, backup.database} or backup.type is BackupType.GLOBALS
