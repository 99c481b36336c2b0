"""Questions to servers, and the few statements that no tool runs for us. The only room but the catalog with SQLAlchemy."""

from vya_backupd.probe.probe import Probe
from vya_backupd.probe.visit import Visit

__all__ = ["Probe", "Visit"]
