"""What the end of an operation says of each instance, for whoever observes ends: counters, gauges, log, mail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vya_backupd.model.operation import Operation, State, Step, is_final, outcome

KEY_OF_INSTANCE = "instance:"
"""How a resource key that stands for an instance begins."""


def finished_facts(
    operation: Operation,
    state: State,
    *,
    keys: Iterable[str] = (),
    engine_of: Callable[[str], str],
    seconds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The data of an ``operation.finished`` event: its kind and state, and the ``instances`` with what each came to.

    ``keys`` name the instances of an operation that ended before it had steps; ``seconds`` is the wall time that each
    instance's steps took. Steps that have not ended count as ended with ``state``.
    """
    error_code = (operation.error or {}).get("code")
    places: dict[str, list[Step]] = {step.instance: [] for step in operation.steps}
    for step in operation.steps:
        places[step.instance].append(step)
    if not places:
        places = {key.removeprefix(KEY_OF_INSTANCE): [] for key in sorted(keys) if key.startswith(KEY_OF_INSTANCE)}
    facts: dict[str, Any] = {
        "kind": str(operation.kind),
        "state": str(state),
        "dry_run": bool(operation.request.get("dry_run")),
        "instances": {
            instance: {
                "engine": engine_of(instance),
                "duration_seconds": round((seconds or {}).get(instance, 0.0), 3),
                **_totals(steps, state, error_code),
            }
            for instance, steps in places.items()
        },
    }
    if error_code:
        facts["error_code"] = error_code
    return facts


def _totals(steps: list[Step], state: State, error_code: str | None) -> dict[str, Any]:
    states = [step.state if is_final(step.state) else state for step in steps]
    codes = [(step.error or {}).get("code", error_code) for step in steps if step.state is not State.SUCCEEDED]
    if not steps:
        codes = [error_code]
    return {
        "state": str(outcome(states) if steps else state),
        "steps": dict(Counter(str(each) for each in states)),
        "size_bytes": sum(int(step.detail.get("size_bytes", 0)) for step in steps),
        "errors": dict(Counter(str(code) for code in codes if code)),
    }
