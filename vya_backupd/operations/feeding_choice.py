"""Which way of feeding a restore takes."""

from __future__ import annotations

import os

from vya_backupd.model.instance import EngineKind
from vya_backupd.operations.feeding import Feeder, Feeding
from vya_backupd.operations.feeding_mysql import MysqlFeeder
from vya_backupd.operations.feeding_postgresql import PostgresqlFeeder
from vya_backupd.operations.feeding_serial import SerialFeeder
from vya_backupd.operations.feeding_watch import WatchedFeeder
from vya_backupd.policy.restore_lanes import plan_lanes


def feeder_for(feeding: Feeding) -> Feeder:
    """The feeder for this database, this file and this target, under watch."""
    return WatchedFeeder(_feeder_for(feeding))


def _feeder_for(feeding: Feeding) -> Feeder:
    """The same, unwatched. What others have written has one session, and so has a database without its rows."""
    manifest = feeding.source.manifest
    if manifest is None or feeding.sections is not None:
        return SerialFeeder()
    wanted = feeding.sessions or feeding.site.config.restore.sessions
    plan = plan_lanes(manifest.raw_size_bytes, len(os.sched_getaffinity(0)), wanted)
    if plan.sessions == 1:
        return SerialFeeder()
    several = PostgresqlFeeder if feeding.target.instance.kind is EngineKind.POSTGRESQL else MysqlFeeder
    return several(plan.sessions)
