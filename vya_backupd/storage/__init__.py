"""Where backups lie: partial files, publishing, listing, deleting. What is inside a backup is not known here."""

from vya_backupd.storage.base import Damaged, Entry, ManifestCodec, Name, Orphan, Partial, Store, Tombstone, Usage
from vya_backupd.storage.local import LocalStore

__all__ = [
    "Damaged",
    "Entry",
    "LocalStore",
    "ManifestCodec",
    "Name",
    "Orphan",
    "Partial",
    "Store",
    "Tombstone",
    "Usage",
]
