"""The only place that starts programs, and the search for the programs that are installed."""

from vya_backupd.process.find import ToolFinder, ToolSearch
from vya_backupd.process.priority import Priority
from vya_backupd.process.spawn import Completed, Exit, Process, Spawner

__all__ = ["Completed", "Exit", "Priority", "Process", "Spawner", "ToolFinder", "ToolSearch"]
