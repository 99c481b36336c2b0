"""One operation seen through: started, worked, ended, and its end on record.

Two tasks serve an operation. The *handler's* task does the work and is what a cancellation hits. The *keeper's* task
waits for it and writes the outcome ``to_its_end``: an outcome is written whole even while everything around is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from vya_backupd.daemon.running import Ending, RunningOperation
from vya_backupd.errors import InterruptedWorkError, VyaError
from vya_backupd.model.operation import State, is_final, outcome
from vya_backupd.unbroken import to_its_end

_log = structlog.get_logger("vya.queue")

RECORD_ATTEMPTS = 6
"""How often an outcome that the catalog does not take is offered again, with doubled pauses from 0.1 s."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a handler ended: with a result, or with an error; with neither when it was cancelled."""

    result: dict[str, Any] | None = None
    error: VyaError | None = None


async def see_through(entry: RunningOperation, group: asyncio.TaskGroup, now: Callable[[], datetime]) -> bool:
    """Run an operation to its recorded end. Never raises for what the work does.

    False: the catalog did not take the end, which is shown all the same and has to be recorded later.
    """
    ended = await _work(entry, group)
    return await to_its_end(_record(entry, ended, now))


def interrupted(reason: str) -> VyaError:
    """The error of work that the daemon itself ended."""
    return InterruptedWorkError(reason, code="interrupted", hint="run it again")


async def _work(entry: RunningOperation, group: asyncio.TaskGroup) -> _Outcome:
    try:
        await entry.move(State.RUNNING)
    except Exception as error:  # noqa: BLE001 - whatever the catalog raises is this operation's end, not the daemon's
        return _Outcome(error=_as_vya_error(entry, error))
    if entry.ending is not None:
        return _Outcome()
    entry.publish(entry.current())
    entry.task = group.create_task(_handle(entry), name=f"handler {entry.operation.id}")
    try:
        await asyncio.wait({entry.task})
    except asyncio.CancelledError:
        # The whole group is coming down: the work is ended, and its outcome is still written.
        entry.ending = entry.ending or Ending(State.INTERRUPTED, interrupted("the daemon failed"), "daemon")
        entry.task.cancel()
        await asyncio.wait({entry.task})
    return _Outcome() if entry.task.cancelled() else entry.task.result()


async def _handle(entry: RunningOperation) -> _Outcome:
    try:
        return _Outcome(result=await entry.handler.run(entry))
    except Exception as error:  # noqa: BLE001 - one operation's defect must not end the others
        return _Outcome(error=_as_vya_error(entry, error))


async def _record(entry: RunningOperation, ended: _Outcome, now: Callable[[], datetime]) -> bool:
    failure: Exception | None = None
    for attempt in range(RECORD_ATTEMPTS):
        try:
            await _record_once(entry, ended)
        except Exception as error:  # noqa: BLE001 - offered again, and said at the end
            _log.exception("operation.outcome_not_recorded", operation=entry.operation.id, attempt=attempt + 1)
            failure = error
            if isinstance(error, ValueError):
                # The record has moved on without us: offering the same move again cannot help.
                break
            await asyncio.sleep(0.1 * 2**attempt)
        else:
            return True
    if failure is None:
        return True
    # Why the work failed comes before why that could not be written down.
    entry.ended_as(State.FAILED, now(), (ended.error or _as_vya_error(entry, failure)).to_json())
    return isinstance(failure, ValueError)


async def _record_once(entry: RunningOperation, ended: _Outcome) -> None:
    if entry.operation.state is State.QUEUED:
        # The catalog refused the start and may have recovered meanwhile.
        await entry.move(State.RUNNING)
    if ended.result is not None and all(is_final(step.state) for step in entry.steps):
        state = outcome([step.state for step in entry.steps])
        why = entry.ending.error if entry.ending and state in {State.CANCELLED, State.INTERRUPTED} else None
        await entry.move(state, result=ended.result, error=why)
        return
    state, error = State.FAILED, ended.error
    if entry.ending is not None:
        state, error = entry.ending.state, entry.ending.error
    if error is None:
        error = VyaError("the work ended with unfinished steps", hint="a defect: please report it with the log")
    await entry.move(state, error=error, result=ended.result)


def _as_vya_error(entry: RunningOperation, error: Exception) -> VyaError:
    if isinstance(error, VyaError):
        return error
    _log.error("operation.internal_error", operation=entry.operation.id, exc_info=error)
    hint = f"the log has the trace under operation {entry.operation.id}"
    return VyaError(f"unexpected {type(error).__name__}", hint=hint)
