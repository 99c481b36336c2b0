"""Every failure that a user can meet, as one tree.

::

    VyaError                  anything below; exit 1
    ├── UsageError            the request makes no sense                      exit 2
    ├── NotFoundError         no such instance, database, backup, operation   exit 4
    ├── IntegrityError        a file is not what it was when it was written   exit 5
    ├── BusyError             somebody else works there now                   exit 6
    ├── TargetError           the target's state forbids a restore            exit 6
    ├── UnreachableError      no daemon answers on the socket                 exit 7
    ├── DeniedError           the caller may not do this                      exit 8
    ├── ConfigError           configuration or credentials                    exit 78
    ├── InterruptedWorkError  cancelled, or stopped with the daemon           exit 130
    ├── ServerError           a database server said no, or nothing           exit 1
    ├── ToolError             a dump or restore tool is missing, or failed    exit 1
    ├── DumpError             a dump ended well but is not a whole dump       exit 1
    ├── StorageError          a disk is full, read-only or gone               exit 1
    └── NoticeError           a mail, webhook or ping did not get through     exit 1

An error carries a stable ``code`` (a slug: metric label, audit field, anchor of the documentation), what happened in
``message``, what to do next in ``hint``, the instance and database it is about, and whether trying again can help.
Classes name the *kind* and decide the exit code; codes name the *case*. ``CODES`` lists every case once.
"""

from __future__ import annotations

from typing import Any, ClassVar

CODES: dict[str, str] = {
    # usage and lookups
    "usage": "The request is malformed or contradicts itself.",
    "confirmation_required": "A destructive request needs a confirmation and there is no terminal to ask on.",
    "unknown_instance": "No instance with this id is configured.",
    "unknown_database": "The server has no database of this name.",
    "unknown_backup": "No backup has this id, or none matches.",
    "unknown_operation": "No operation has this id.",
    "unknown_table": "The backup has no table of this name.",
    "no_backup_before": "No complete backup was taken at or before the wanted time.",
    "file_not_found": "The named file does not exist or cannot be read.",
    # integrity
    "damaged_file": "A backup file differs from what was written.",
    "checksum_mismatch": "The file's digest is not the recorded one.",
    "incomplete_file": "The file ends before its end marker.",
    "damaged_manifest": "A manifest cannot be read or contradicts its file.",
    "not_a_dump": "The file is not a dump of a known engine.",
    # busy, target, access
    "state_locked": "Another process holds the state directory.",
    "backup_in_use": "The backup is held or in use.",
    "queue_full": "Too many operations wait already.",
    "daemon_stopping": "The daemon is stopping and takes no new work.",
    "target_not_empty": "The target database exists and is not empty.",
    "target_in_use": "Sessions are connected to the target.",
    "target_unsuitable": "The target server cannot take this backup.",
    "target_lacks": "The target server lacks roles, extensions, tablespaces or accounts that the backup needs.",
    "swap_refused": "The swap of original and restored database was refused or undone.",
    "undo_failed": "A swap stopped half-way and could not be undone: the hint has the command that does it.",
    "daemon_unreachable": "No daemon answers on the control socket.",
    "denied": "The caller's groups do not allow this.",
    # configuration
    "invalid_config": "The configuration has mistakes.",
    "config_not_found": "The configuration file does not exist or cannot be read.",
    "invalid_credentials": "The credentials file has mistakes.",
    "credentials_not_found": "The credentials file does not exist or cannot be read.",
    "credentials_mode": "The credentials or key file can be read by others.",
    "credentials_key": "The key does not decrypt the credentials.",
    "storage_layout": "Backup and temporary folder cannot work together.",
    "folder_open": "Other users can put things into a folder of ours.",
    "socket_in_use": "The control socket is taken, or is not a socket.",
    "port_in_use": "The TCP port of the health site is taken.",
    # server
    "connection_refused": "The server does not accept connections.",
    "login_refused": "The server refused user name or password.",
    "tls_failed": "TLS could not be agreed, or the certificate is not trusted.",
    "server_lost": "The connection was lost during the work.",
    "server_error": "The server answered with an error.",
    "insufficient_privilege": "The account lacks a right that is needed.",
    "lock_timeout": "A lock was not to be had in time.",
    # tools and dumps
    "tool_missing": "No dump or client program that fits the server was found.",
    "tool_failed": "A dump or client program failed.",
    "tool_killed": "A dump or client program was ended by a signal.",
    "stalled": "No progress for longer than the stall timeout.",
    "dump_incomplete": "The dump has no end marker, or something follows it.",
    "dump_lacks_tables": "Tables that the server has are not in the dump.",
    "tables_changed": "Tables were changed or replaced while they were dumped.",
    "restore_failed": "A statement of the restore failed.",
    "restore_mismatch": "The restored database is not what the manifest says.",
    # storage
    "disk_full": "The file system is full.",
    "insufficient_space": "Less space is free than the backup will likely need.",
    "storage_unwritable": "The backup folder cannot be written.",
    "storage_failed": "Reading or writing a backup failed.",
    # the audit
    "audit_unwritable": "The audit file cannot be written; events wait in the catalog.",
    "audit_unreadable": "A file of the audit cannot be read.",
    # telling people
    "mail_unreachable": "The mail server does not answer, or the connection was lost.",
    "mail_tls": "The mail server offers no TLS, or its certificate is not trusted; nothing was sent.",
    "mail_login": "The mail server refused user name or password.",
    "mail_refused": "The mail server refused sender, recipient or message.",
    "webhook_failed": "A webhook or ping was not answered with success.",
    "invalid_template": "A template of mails has a mistake.",
    # ends of work
    "cancelled": "The operation was cancelled.",
    "interrupted": "The daemon stopped or died during the operation.",
    "internal": "An unexpected failure; the log has the trace.",
}


class VyaError(Exception):
    """A failure with a stable code, a hint, and the place it happened at.

    Raises:
        KeyError: the code is not in ``CODES`` (a mistake of the programmer).
    """

    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str] = "internal"
    default_hint: ClassVar[str] = "The daemon's log says more."
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        instance: str | None = None,
        database: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        CODES[self.code]
        self.message = message
        self.hint = hint or self.default_hint
        self.instance = instance
        self.database = database
        self.retryable = self.default_retryable if retryable is None else retryable

    def at(self, instance: str | None = None, database: str | None = None) -> VyaError:
        """Name the place, where the raiser did not know it. Known places stay. Returns the same error."""
        self.instance = self.instance or instance
        self.database = self.database or database
        return self

    def to_json(self) -> dict[str, Any]:
        """The wire form: code, message, hint, retryable, exit_code, and the place where known."""
        record: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "exit_code": self.exit_code,
        }
        if self.instance is not None:
            record["instance"] = self.instance
        if self.database is not None:
            record["database"] = self.database
        return record

    @staticmethod
    def from_json(record: dict[str, Any]) -> VyaError:
        """The error of a wire record: of the class that has its exit code; an unknown code becomes ``internal``."""
        cls = _BY_EXIT_CODE.get(int(record.get("exit_code", 1)), VyaError)
        code = str(record.get("code", "internal"))
        return cls(
            str(record.get("message", "")),
            code=code if code in CODES else "internal",
            hint=str(record.get("hint", "")),
            instance=record.get("instance"),
            database=record.get("database"),
            retryable=bool(record.get("retryable", False)),
        )


class UsageError(VyaError):
    """The request makes no sense as it stands."""

    exit_code = 2
    default_code = "usage"
    default_hint = "See the command's --help."


class NotFoundError(VyaError):
    """What was named is not there."""

    exit_code = 4
    default_code = "unknown_backup"


class IntegrityError(VyaError):
    """A backup file, label, manifest or digest is damaged."""

    exit_code = 5
    default_code = "damaged_file"
    default_hint = "Restore from another backup; this file must not be trusted."


class BusyError(VyaError):
    """Somebody else works there now; later it may go."""

    exit_code = 6
    default_code = "state_locked"
    default_retryable = True


class TargetError(VyaError):
    """The state of a restore's target forbids it."""

    exit_code = 6
    default_code = "target_not_empty"


class UnreachableError(VyaError):
    """No daemon answers."""

    exit_code = 7
    default_code = "daemon_unreachable"
    default_retryable = True


class DeniedError(VyaError):
    """The caller may not do this."""

    exit_code = 8
    default_code = "denied"


class ConfigError(VyaError):
    """Configuration or credentials cannot be used."""

    exit_code = 78
    default_code = "invalid_config"
    default_hint = "docs/configuration.md explains every key."


class InterruptedWorkError(VyaError):
    """Work that was cancelled, or stopped with the daemon."""

    exit_code = 130
    default_code = "cancelled"
    default_hint = "Start it again when it is wanted."


class ServerError(VyaError):
    """A database server refused, failed or vanished."""

    default_code = "server_error"
    default_hint = "See the server's own log of this moment."


class ToolError(VyaError):
    """A dump or client program is missing or failed."""

    default_code = "tool_failed"
    default_hint = "The message has the tool's own words."


class DumpError(VyaError):
    """Every process ended well, and still this is no whole dump."""

    default_code = "dump_incomplete"
    default_retryable = True


class StorageError(VyaError):
    """The store failed."""

    default_code = "storage_failed"
    default_hint = "Check the disk or the mount."


class NoticeError(VyaError):
    """Somebody could not be told. The work that was to be told of is as it is."""

    default_code = "mail_refused"
    default_hint = "The message has the other side's own words; 'vyactl notify test' tries again."
    default_retryable = True


_BY_EXIT_CODE: dict[int, type[VyaError]] = {
    cls.exit_code: cls
    for cls in (
        UsageError,
        NotFoundError,
        IntegrityError,
        BusyError,
        UnreachableError,
        DeniedError,
        ConfigError,
        InterruptedWorkError,
    )
}
