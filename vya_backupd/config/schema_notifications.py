"""The group ``notifications`` of ``config.yaml``: mails, webhooks, pings."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vya_backupd.config.fields import Duration, FilePath, Names, SecretField, SecretUrl, Section, Text, UserName, words

IMPLICIT_TLS_PORT = 465
"""The port on which TLS begins with the connection (RFC 8314)."""

Kinds = Annotated[
    tuple[Literal["backup", "restore", "verify", "prune", "rebuild"], ...],
    BeforeValidator(words),
]


class Templates(Section):
    """The texts of mails."""

    folder: FilePath = Field(
        Path("/etc/vya_backupdb/templates"),
        description="Where templates are looked for by their names, before those that come with the program.",
    )
    success: Text = Field("backup_success.html", description="Template of the mail after success; a name or a path.")
    error: Text = Field(
        "backup_error.html",
        description="Template of the mail after a failure. The plain part is the file of the same name with .txt.",
    )
    digest: Text = Field("digest.html", description="Template of the mail about many failures.")

    @field_validator("success", "error", "digest")
    @classmethod
    def _html(cls, value: str) -> str:
        if not value.endswith(".html"):
            raise ValueError("must end with .html")
        return value


class Email(Section):
    """Mails about finished and failed work."""

    enabled: bool = Field(False, description="Whether mails are sent.")
    smtp_host: Text | None = Field(None, description="The mail server.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port.")
    use_tls: bool = Field(
        True,
        description="true demands STARTTLS (TLS from the start on port 465) and never goes on without; false is none.",
    )
    ca_cert: FilePath | None = Field(
        None, description="The authority that signed the mail server's certificate; those of the system by default."
    )
    username: UserName | None = Field(None, description="Login at the mail server.")
    password: SecretField | None = Field(
        None, description="Its password: file:PATH, env:NAME, systemd:NAME or fernet:TOKEN."
    )
    from_address: Text | None = Field(None, description="Sender of the mails.")
    success_recipients: Names = Field((), description="Who hears of success.")
    error_recipients: Names = Field((), description="Who hears of failures, those of single databases included.")
    success_of: Kinds = Field(
        ("backup", "restore"), description="Kinds of operations whose success is mailed; a failure of any is."
    )
    events: Names = Field(
        (
            "slot.missed",
            "slot.given_up",
            "backup.vanished",
            "audit.damaged",
            "notification.failed",
            "config.reload_refused",
        ),
        description="Further events that error_recipients hear of, by name, with * for any.",
    )
    digest_after: int = Field(
        5, ge=1, le=1000, description="Bad news within digest_window that get a mail each; further ones share one."
    )
    digest_window: Duration = Field(
        timedelta(minutes=10), description="How long further bad news are gathered; at most 30m."
    )
    templates: Templates = Field(default_factory=Templates, description="The texts of mails.")

    @field_validator("digest_window")
    @classmethod
    def _below_an_hour(cls, value: timedelta) -> timedelta:
        if value > timedelta(minutes=30):
            raise ValueError("must not be longer than 30m: a mail that waits for an hour counts as stuck")
        return value

    @field_validator("success_recipients", "error_recipients")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not each or set(each) & set(' <>(),;:"') for each in value):
            raise ValueError("must be bare addresses, such as ops@example.com")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [key for key in ("smtp_host", "from_address") if self.enabled and not getattr(self, key)]
        if self.enabled and not (self.success_recipients or self.error_recipients):
            missing.append("error_recipients")
        if missing:
            raise ValueError(f"when enabled, needs {', '.join(missing)}")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        return self


class Webhook(Section):
    """Somebody's HTTP address that is told of events, as signed JSON."""

    url: SecretUrl = Field(description="Where to POST; shown without its path, which often is a secret.")
    secret: SecretField | None = Field(
        None, description="Key of the signature (HMAC-SHA256); without it there is no signature."
    )
    events: Names = Field(
        ("operation.finished",),
        description="Names of events to tell, with * for any: retention.*, notification.failed.",
    )


class Ping(Section):
    """A dead man's switch: addresses that are called at the end of each backup, so that silence is noticed."""

    success_url: SecretUrl | None = Field(
        None, description="Called when a backup succeeded. With {instance} in it: once for each instance."
    )
    failure_url: SecretUrl | None = Field(
        None, description="Called when a backup did not succeed, or not for every database."
    )


class Notifications(Section):
    """Who is told."""

    timeout: Duration = Field(timedelta(seconds=30), description="How long one attempt to tell somebody may take.")
    retry_wait: Duration = Field(
        timedelta(minutes=1), description="Wait before the second attempt; then it doubles, up to an hour."
    )
    give_up_after: Duration = Field(timedelta(days=3), description="Age at which a mail or webhook is given up.")
    email: Email = Field(default_factory=Email, description="Mails about finished and failed work.")
    webhooks: tuple[Webhook, ...] = Field((), description="Addresses that are told of events.")
    ping: Ping = Field(default_factory=Ping, description="A dead man's switch.")

    @field_validator("retry_wait")
    @classmethod
    def _up_to_an_hour(cls, value: timedelta) -> timedelta:
        if value > timedelta(hours=1):
            raise ValueError("must not be longer than 1h")
        return value
