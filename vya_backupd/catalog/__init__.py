"""The index: which backups there are, what was done, what happened. Files are the truth; this can be made from them."""

from vya_backupd.catalog.backups import LastSize
from vya_backupd.catalog.catalog import Catalog
from vya_backupd.catalog.events import RecordedEvent
from vya_backupd.catalog.ledger import Count, Total

__all__ = ["Catalog", "Count", "LastSize", "RecordedEvent", "Total"]
