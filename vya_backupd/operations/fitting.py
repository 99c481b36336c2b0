"""How a restore changes the text of a dump on its way to the server: what it was asked to leave out or to replace.

The file stays as it is. Where a dump goes through one session, a chain of fittings sees its text in order; where it is
taken apart, each part is fitted by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from vya_backupd.engines.mysql_definer_text import Change, DefinerText, replaced_by, stripped
from vya_backupd.engines.postgresql_statement_text import StatementText, Unwanted
from vya_backupd.errors import UsageError
from vya_backupd.model.instance import EngineKind
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.pipeline.restore import Fitting


@dataclass(frozen=True, slots=True)
class Fit:
    """What is changed. ``definer``: what stands in the place of each; None keeps them all."""

    definer: Change | None = None
    unwanted: Unwanted = field(default_factory=Unwanted)

    def __bool__(self) -> bool:
        return self.definer is not None or bool(self.unwanted)

    def chain(self) -> tuple[Fitting, ...]:
        """New fittings for one text, which they are to see in order."""
        definers = (DefinerText(self.definer),) if self.definer else ()
        return (*definers, *((StatementText(self.unwanted),) if self.unwanted else ()))

    def through(self, texts: Iterable[bytes]) -> Iterator[bytes]:
        """A text in pieces, changed. The pieces begin where a statement does."""
        for fitting in self.chain():
            texts = _fitted(fitting, texts)
        yield from texts

    def properties(self, recorded: Mapping[str, str]) -> dict[str, str]:
        """Properties of a database, as far as they are wanted."""
        return {
            key: value for key, value in recorded.items() if not (key == "tablespace" and self.unwanted.tablespaces)
        }

    def wanted(self, statements: Iterable[str]) -> list[str]:
        """Of single statements, those that stay."""
        return [each for each in statements if not self.unwanted(each.encode("utf-8", "surrogateescape"))]

    def whole(self, text: bytes) -> bytes:
        """A whole text, changed."""
        return b"".join(self.through((text,))) if self else text


def _fitted(fitting: Fitting, texts: Iterable[bytes]) -> Iterator[bytes]:
    for text in texts:
        yield fitting.feed(text)
    yield fitting.finish()


def fit_of(request: RestoreRequest) -> Fit:
    """What a request asks for."""
    definer: Change | None = None
    if request.definer == "strip":
        definer = stripped
    elif request.definer_user is not None:
        definer = replaced_by(account_of(request.definer_user))
    unwanted = Unwanted(
        request.no_owner, request.no_privileges, request.no_tablespaces, frozenset(request.skip_extensions or ())
    )
    return Fit(definer, unwanted)


def account_of(text: str) -> tuple[str, str]:
    """User and host of ``USER@HOST``; without a host, any."""
    user, at, host = text.rpartition("@")
    return (user, host) if at else (text, "%")


def refuse_strange(request: RestoreRequest, kind: EngineKind) -> None:
    """What the target's kind of server has nothing of. Raises UsageError."""
    postgresql = {
        "--no-owner": request.no_owner,
        "--no-privileges": request.no_privileges,
        "--no-tablespaces": request.no_tablespaces,
        "--skip-extension": bool(request.skip_extensions),
    }
    mysql = {
        "--definer": request.definer != "keep",
        "--skip-binlog": request.skip_binlog,
        "--enable-events": request.enable_events,
    }
    others = mysql if kind is EngineKind.POSTGRESQL else postgresql
    if strange := [name for name, given in others.items() if given]:
        theirs = "MySQL and MariaDB" if kind is EngineKind.POSTGRESQL else "PostgreSQL"
        raise UsageError(
            f"{' and '.join(strange)} is for {theirs}, and the target is {kind.value}", hint="Leave it out."
        )
