"""The groups of ``config.yaml`` that tell the world: scheduling and monitoring. Notifications have a module of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from vya_backupd.config.fields import (
    Duration,
    HttpUrl,
    Section,
    Text,
    TimeZone,
    Wait,
)
from vya_backupd.policy.cron import parse_cron


class Scheduling(Section):
    """When backups run."""

    enabled: bool = Field(True, description="Whether backups run by themselves.")
    method: Literal["interval", "systemd", "cron"] = Field(
        "interval",
        description="interval is the daemon's own scheduler; systemd and cron leave the clock to an outside timer that "
        "calls the client.",
    )
    cron: Text | None = Field(
        None, description='Five fields, "0 2 * * *" is 02:00 every day; comes before interval_minutes.'
    )
    interval_minutes: int = Field(
        1440, ge=1, le=527040, description="Minutes between backups, counted from local midnight of a fixed day."
    )
    timezone: TimeZone = Field(
        "America/Sao_Paulo", description="Time zone of schedules, of days in retention and of dates in names."
    )
    jitter: Wait = Field(timedelta(0), description="Up to this long is added to each start, so that sites spread out.")
    catch_up: bool = Field(True, description="Whether a backup that was missed while the daemon was down runs once.")
    catch_up_window: Duration = Field(
        timedelta(hours=12), description="How long after its time a missed or interrupted backup is still run."
    )
    attempts: int = Field(
        3,
        ge=1,
        le=100,
        description="How often a backup that a crash or a stop interrupts is begun, the first included.",
    )

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str | None) -> str | None:
        if value is not None:
            parse_cron(value)
        return value


class Prometheus(Section):
    """Metrics at ``/metrics``, and pushed where nobody can scrape."""

    enabled: bool = Field(True, description="Whether /metrics answers.")
    pushgateway_url: HttpUrl | None = Field(None, description="A Pushgateway to push to; none by default.")
    job_name: Text = Field(
        "vya-backup-{hostname}", description="The job under which metrics are pushed; {hostname} is this site's name."
    )
    push_interval: Duration = Field(timedelta(seconds=60), description="Time between two pushes.")

    @field_validator("job_name")
    @classmethod
    def _placeholders(cls, value: str) -> str:
        if "{" in value.replace("{hostname}", "") or "}" in value.replace("{hostname}", ""):
            raise ValueError("knows the placeholder {hostname} only")
        return value


class HealthCheck(Section):
    """The HTTP site for probes."""

    enabled: bool = Field(True, description="Whether the site is opened; /metrics is on it too.")
    host: Text = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(8080, ge=0, le=65535, description="TCP port; 0 takes any free one.")
    path: Text = Field("/health", description="Where the health report answers; .../ready and .../live lie below it.")

    uncovered_databases: bool = Field(
        True, description="Whether a database that is neither backed up nor excluded makes the health degraded."
    )

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/") or value.rstrip("/") in ("", "/metrics") or set(value) & set(" ?#{}"):
            raise ValueError("must be a path such as /health, other than / and /metrics")
        return value.rstrip("/")


class Monitoring(Section):
    """What other programs may ask."""

    prometheus: Prometheus = Field(default_factory=Prometheus, description="Metrics.")
    health_check: HealthCheck = Field(default_factory=HealthCheck, description="The HTTP site for probes.")
