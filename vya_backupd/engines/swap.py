"""An exchange of two databases, as steps that each know their own way back. Nothing here runs anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SwapStep:
    """One statement that goes one step forward, and the one that takes exactly this step back (empty: nothing to undo).

    One statement happens or does not. ``database`` is the database to be connected to (None: the maintenance
    database); ``session`` are settings to make on the same connection before the statement, and before its undo.
    """

    what: str
    statement: str
    undo: str = ""
    database: str | None = None
    session: tuple[str, ...] = ()

    @property
    def script(self) -> tuple[str, ...]:
        """Everything to run, in order, on one connection."""
        return (*self.session, self.statement)


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """Steps in order. When one fails, the undo of those before it, last first, brings the original back.

    After a crash it is not known whether the last step begun took place: then its undo is tried as well, and may fail.
    No undo destroys data. ``aside`` is where the original is afterwards; ``cleanup`` removes it. ``tidy`` ends a script of
    undos: it removes ``aside``, if nothing is in it and all of the original is back where it was. ``way_back``, where it is given, is one statement that brings the
    original back whatever steps took place, and harms nothing when all of them did.
    """

    aside: str
    steps: tuple[SwapStep, ...]
    cleanup: tuple[str, ...] = ()
    way_back: str = ""
    tidy: tuple[str, ...] = ()

    def undo(self, done: int) -> tuple[SwapStep, ...]:
        """Steps that take the first ``done`` steps back, in the order to run them."""
        return tuple(
            SwapStep(f"undo: {step.what}", step.undo, step.statement, step.database, step.session)
            for step in reversed(self.steps[:done])
            if step.undo
        )
