"""Secrets in variables of the environment: read once, then taken out of it.

What a process was started with stays readable for as long as it lives, in ``/proc/PID/environ``, for root and for
whoever runs as the same user; and it is handed on to every program that is started with it. Deleting a variable does
not help: the kernel shows the memory that it laid out at the start. So that memory is overwritten, and what is needed
for a reload is kept in ours.

What this cannot do: whoever started us still has the variable, and so has the unit or the container's description.
``systemd:`` and ``file:`` have no such copy.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping

_kept: dict[str, str] = {}
_secret: set[str] = set()
"""Names of variables that somebody has asked for a secret."""


def variables() -> Mapping[str, str]:
    """The environment as it was given to us: what was concealed is in it."""
    return _kept | os.environ


def is_secret(name: str) -> None:
    """This variable holds a secret: ``conceal`` takes it away."""
    _secret.add(name)


def conceal(also: Iterable[str] = ()) -> None:
    """Take every secret out of the environment, and ``also`` these names. May be repeated, after each reading.

    Not beside other threads that use the environment.
    """
    for name in _secret | set(also):
        if name in os.environ:
            _kept[name] = os.environ[name]
            _overwrite(name)
            del os.environ[name]


def _overwrite(name: str) -> None:
    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_void_p
    place = library.getenv(os.fsencode(name))
    if place:
        ctypes.memset(place, 0, len(ctypes.string_at(place)))
