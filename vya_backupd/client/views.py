"""Two ways to show a board: redrawn in place on a terminal, and as plain lines everywhere else. Both on stderr."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from vya_backupd.client import shown
from vya_backupd.client.board import Board, Row

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

LINE_SECONDS = 5.0
"""The least pause between two progress lines of one step."""
_LINGERING = 3
"""Finished rows that stay in sight beside the running ones."""


class View(Protocol):
    """Shows a board while it changes."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def moved(self, board: Board) -> None:
        """The operation itself changed."""

    def stepped(self, row: Row) -> None:
        """A step's state changed."""

    def progressed(self, row: Row, now: float) -> None:
        """A step came on."""


def view_for(board: Board) -> View:
    """The view that fits stderr."""
    return LiveView(board) if sys.stderr.isatty() else LineView()


class LineView:
    """A line for each change of state, and one per step every few seconds in between."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], tuple[str, float]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def moved(self, board: Board) -> None:
        """Say for whom it waits; that it runs, its steps will say."""
        if board.behind:
            print(shown.plain(board.standing()), file=sys.stderr, flush=True)

    def stepped(self, row: Row) -> None:
        """Say the new state."""
        if row.state == "queued":
            return
        text = f"{shown.place(row.instance, row.database)}: {row.state}"
        if row.finished and row.done:
            text += f", {shown.size(row.done)}"
        print(text, file=sys.stderr, flush=True)

    def progressed(self, row: Row, now: float) -> None:
        """Say how far it is, unless that was said a moment ago."""
        key = (row.instance, row.database)
        phase, at = self._said.get(key, (None, 0.0))
        if phase == row.phase and now - at < LINE_SECONDS:
            return
        self._said[key] = (row.phase, now)
        print(f"{shown.place(*key)}: {_in_words(row)}", file=sys.stderr, flush=True)


class LiveView:
    """Rows that are redrawn in place: running ones, the last finished ones, and a line of totals."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._ended: list[Row] = []
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True, highlight=False)
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=5, transient=True)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def moved(self, board: Board) -> None:
        """Nothing to do: the next redraw reads the board."""

    def stepped(self, row: Row) -> None:
        """Remember which steps ended last; the next redraw shows them."""
        if row.finished and row not in self._ended:
            self._ended = [*self._ended, row][-_LINGERING:]

    def progressed(self, row: Row, now: float) -> None:
        """Nothing to do: the next redraw reads the board."""

    def _draw(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for justify in ("left", "left", "right", "right", "right", "left"):
            grid.add_column(justify=justify, no_wrap=True)
        for row in [*self._ended, *(row for row in list(self._board.rows.values()) if row.running)]:
            grid.add_row(*(Text(cell) for cell in _cells(row)))
        finished, known = self._board.counts()
        standing = shown.plain(self._board.standing())
        total = f"{finished} of {shown.count(known, 'step')} done" if known else f"{standing} ..."
        return Group(grid, Text(total, style="dim"))


def _cells(row: Row) -> tuple[str, ...]:
    """Name, bar, share, bytes, rate, time to go."""
    share, rate = row.share(), row.rate()
    left = row.seconds_left()
    return (
        shown.place(row.instance, row.database),
        _bar(share) if row.running else row.state,
        "" if share is None else f"{share:.0%}",
        shown.size(row.done),
        f"{shown.size(rate)}/s" if rate is not None and row.running else "",
        f"{shown.duration(left)} left" if left is not None else shown.plain(row.message or row.phase),
    )


def _bar(share: float | None, width: int = 20) -> str:
    if share is None:
        return "." * width
    full = int(share * width)
    return "#" * full + "-" * (width - full)


def _in_words(row: Row) -> str:
    parts = [shown.plain(row.phase) if row.phase else "running", shown.size(row.done)]
    if row.expected and (share := row.share()) is not None:
        parts.append(f"{share:.0%} of {shown.size(row.expected)}")
    if (rate := row.rate()) is not None:
        parts.append(f"{shown.size(rate)}/s")
    if (left := row.seconds_left()) is not None:
        parts.append(f"{shown.duration(left)} left")
    if row.message:
        parts.append(shown.plain(row.message))
    return ", ".join(parts)
