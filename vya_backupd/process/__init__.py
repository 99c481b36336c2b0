"""The only place that starts programs, and the search for the programs that are installed."""

from vya_backupd.process.find import ToolFinder, ToolSearch
from vya_backupd.process.spawn import Completed, Exit, Process, Spawner

__all__ = ["Completed", "Exit", "Process", "Spawner", "ToolFinder", "ToolSearch"]
