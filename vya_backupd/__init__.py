"""VYA BackupDB: backs up and restores MySQL, MariaDB and PostgreSQL, unattended."""

__version__ = "2.0.0"
