"""A string that does not show itself."""

from __future__ import annotations


class Secret:
    """Holds a password or key; ``reveal`` is the only way to its text.

    ``repr``, ``str``, formatting and pickling never give the text away, so that a log line, an error or a dump of a
    dataclass cannot leak it by accident.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Call it where the secret is handed over, and nowhere else."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> tuple[object, ...]:
        message = "a Secret is not pickled"
        raise TypeError(message)


def mask_user(name: str) -> str:
    """How a user name is shown to people: its first four characters and ``***``."""
    return f"{name[:4]}***"
