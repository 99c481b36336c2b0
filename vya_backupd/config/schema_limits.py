"""The ``limits`` of ``config.yaml``: how much of servers, disks and cores the work may take, and when."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, model_validator

from vya_backupd.config.fields import Names, Section, Text
from vya_backupd.policy.blackout import Blackout, parse_days, parse_hours
from vya_backupd.policy.limits import parse_rate


class BytesPerSecond(int):
    """A rate. Written with a unit where that reads better: 20MB, 500k, 16MiB."""


def _rate(value: Any) -> BytesPerSecond:
    return BytesPerSecond(parse_rate(str(value)))


def _days(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _some_days(value: str) -> str:
    parse_days(value)
    return value


def _some_hours(value: str) -> str:
    parse_hours(value)
    return value


RateField = Annotated[BytesPerSecond, PlainValidator(_rate), PlainSerializer(int, return_type=int)]
"""Bytes per second."""


class BlackoutHours(Section):
    """Hours in which servers are spared."""

    days: Annotated[Text, BeforeValidator(_days), AfterValidator(_some_days)] = Field(
        "*", description="Weekdays on which the hours begin: mon-fri, or sat,sun; * is every day."
    )
    hours: Annotated[Text, AfterValidator(_some_hours)] = Field(
        description="From-to in scheduling.timezone: 09:00-18:00; 22:00-06:00 reaches into the next day."
    )
    instances: Names = Field(("*",), description="Instances that are meant, by id, with * for any.")
    action: Literal["pause-new", "throttle"] = Field(
        "pause-new",
        description="pause-new lets scheduled backups wait for the end while what runs goes on; throttle slows all work "
        "on the servers to bytes_per_second.",
    )
    bytes_per_second: RateField | None = Field(None, description="With action throttle: what flows at most.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.action == "throttle") != (self.bytes_per_second is not None):
            raise ValueError("bytes_per_second and action throttle belong together")
        return self

    def blackout(self) -> Blackout:
        """The same as the policy wants it."""
        begin, end = parse_hours(self.hours)
        return Blackout(parse_days(self.days), begin, end, self.instances, self.bytes_per_second)


class Limits(Section):
    """How much of servers, disks and cores the work may take, and when."""

    bytes_per_second: RateField | None = Field(
        None, description="Bytes of dump text read from all servers together in a second, at most: 20MB, 500k."
    )
    restore_bytes_per_second: RateField | None = Field(
        None, description="Bytes of dump text fed to all servers together in a second, at most."
    )
    nice: int = Field(
        0,
        ge=0,
        le=19,
        description="Niceness that dump tools and clients get on top of the daemon's; 19 gives way most.",
    )
    io_priority: Literal["idle", "7", "6", "5", "4", "3", "2", "1", "0"] | None = Field(
        None,
        description="Disk priority of dump tools and clients: idle, or best effort from 7 (last) to 0; the daemon's own "
        "when unset.",
    )
    blackouts: tuple[BlackoutHours, ...] = Field((), description="Hours in which servers are spared.")

    def calendar(self) -> tuple[Blackout, ...]:
        """All blackouts as the policy wants them."""
        return tuple(each.blackout() for each in self.blackouts)


class OwnLimits(Section):
    """What an instance has beside the ``limits`` of ``config.yaml``: the narrower of the two holds."""

    bytes_per_second: RateField | None = None
    restore_bytes_per_second: RateField | None = None
