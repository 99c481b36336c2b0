"""What a driver's exception means, as one of our errors."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from vya_backupd.engines import stderr
from vya_backupd.engines.stderr_rules import MYSQL_RULES, POSTGRESQL_RULES
from vya_backupd.errors import NotFoundError, ServerError, TargetError, VyaError
from vya_backupd.model.instance import EngineKind, Instance

_LONGEST = 200
"""Characters that are told of an answer that makes no sense."""
_SQLSTATES = {
    "28": ("login_refused", stderr.HINT_LOGIN, False),
    "3D000": ("unknown_database", "It may have been dropped or renamed meanwhile.", False),
    "42501": ("insufficient_privilege", stderr.HINT_RIGHT, False),
    "55P03": ("lock_timeout", stderr.HINT_LOCK, True),
    "55006": ("target_in_use", "End the sessions, or let --disconnect end them.", False),
    "53300": ("connection_refused", stderr.HINT_BUSY, True),
    "57P": ("server_lost", stderr.HINT_LOST, True),
    "08": ("server_lost", stderr.HINT_LOST, True),
}
"""SQLSTATE, or its class, to (code, hint, retryable): words of a server depend on its language, states do not."""


_NONSENSE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, struct.error)
"""What comes of answers that no server gives: too few columns, words for numbers, packets that are none."""


@contextmanager
def translated(instance: Instance, database: str | None, what: str) -> Iterator[None]:
    """Turn every failure of a driver within the block into an error with code, hint and place."""
    try:
        yield
    except VyaError as error:
        raise error.at(instance.id, database) from error.__cause__
    except TimeoutError as error:
        raise _no_answer(what).at(instance.id, database) from error
    except _failures(instance.kind) as error:
        raise meaning(instance.kind, error, what).at(instance.id, database) from error
    except _NONSENSE as error:
        raise _senseless(what, error).at(instance.id, database) from error


def _failures(kind: EngineKind) -> tuple[type[Exception], ...]:
    """What a driver raises. Asked after a failure only: whichever driver it was is loaded."""
    driver: type[Exception]
    if kind is EngineKind.POSTGRESQL:
        import psycopg

        driver = psycopg.Error
    else:
        import asyncmy.errors

        driver = asyncmy.errors.MySQLError
    return (driver, OSError, RuntimeError, asyncio.IncompleteReadError)


def _no_answer(what: str) -> VyaError:
    message = f"{what}: the server did not answer in time"
    return ServerError(message, code="connection_refused", hint=stderr.HINT_CONNECT, retryable=True)


def _senseless(what: str, error: Exception) -> VyaError:
    told = stderr.clean(repr(error))[:_LONGEST]
    message = f"{what}: the answer is none that a server of this kind gives ({told})"
    return ServerError(message, hint="Is it really such a server that answers there? Look at host and port.")


def meaning(kind: EngineKind, error: BaseException, what: str) -> VyaError:
    """The error of a driver's exception; ``what`` says what we were doing."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return ServerError(f"{what}: {stderr.clean(str(cause))}", code="tls_failed", hint=stderr.HINT_TLS)
        cause = cause.__cause__ or cause.__context__
    found: str | None = getattr(error, "sqlstate", None)
    if found:
        for state, (code, hint, retryable) in _SQLSTATES.items():
            if found.startswith(state):
                return _made(code, f"{what}: {stderr.telling_line(str(error))}", hint, retryable=retryable)
    postgresql = kind is EngineKind.POSTGRESQL
    text = str(error) if postgresql else _numbered(error)
    known = stderr.known_failure(POSTGRESQL_RULES if postgresql else MYSQL_RULES, what, text)
    return known or ServerError(f"{what}: {stderr.telling_line(text)}")


def _made(code: str, message: str, hint: str, *, retryable: bool) -> VyaError:
    classes: dict[str, type[VyaError]] = {"unknown_database": NotFoundError, "target_in_use": TargetError}
    return classes.get(code, ServerError)(message, code=code, hint=hint, retryable=retryable)


def _numbered(error: BaseException) -> str:
    """The exception as MySQL's own programs would print it: number, colon, text."""
    if len(error.args) >= 2 and isinstance(error.args[0], int):
        return f"error {error.args[0]}: {error.args[1]}"
    if isinstance(error, OSError | asyncio.IncompleteReadError):
        return f"error 2003: {error}"
    return f"error: {error}"
