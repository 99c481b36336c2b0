"""How many segments are in flight: between a scanner and the file, as text or packed.

More than the threads of the pool can work on would only wait, and take memory. So all dumps of the process share a
number of slots that follows the number of threads, however many dumps run at once; but each may always have a few,
whatever the others have, so that none of them stands still.
"""

from __future__ import annotations

import threading

_SURE = 2
"""Slots of every dump: what the largest segment takes."""


class Slots:
    """The slots of all dumps. Any thread may ask."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._changed = threading.Condition()

    def share(self, most: int) -> Share:
        """Slots for one dump, ``most`` of them at a time."""
        return Share(self, max(most, _SURE))

    def take(self, share: Share) -> None:
        """Take one for a dump, as soon as there is one for it."""
        with self._changed:
            self._changed.wait_for(lambda: share.taken < _SURE or self._has_room_for(share))
            share.taken += 1
            self._taken += 1

    def give(self, share: Share, number: int) -> None:
        """Give back."""
        with self._changed:
            share.taken -= number
            self._taken -= number
            self._changed.notify_all()

    def _has_room_for(self, share: Share) -> bool:
        return self._taken < self._most and share.taken < share.most


class Share:
    """One dump's part of the slots."""

    def __init__(self, slots: Slots, most: int) -> None:
        self._slots = slots
        self.most = most
        self.taken = 0

    def take(self) -> None:
        """Wait for a slot and take it."""
        self._slots.take(self)

    def give(self, number: int) -> None:
        """Give so many back."""
        self._slots.give(self, number)
