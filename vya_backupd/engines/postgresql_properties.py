"""Properties of a PostgreSQL database that its own dump lacks: owner, comment, rights, settings, labels.

``pg_dump --create --schema-only`` prints them with the database's name written out. Here they become templates for any
name: the replacement happens at the token that *is* the name, never by searching text, since a database may be called
``TO`` and a comment may contain anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from vya_backupd.engines.statements import Statement, statements

_SESSION = ("SET", "SESSION", "AUTHORIZATION")
_RESET = ("RESET", "SESSION", "AUTHORIZATION")


def templates(output: bytes, database: str) -> tuple[str, ...]:
    """The statements about the database itself, as format templates: ``{database}`` is its quoted name."""
    found: list[str] = []
    session: Statement | None = None
    opened = False
    for statement in statements(output.decode("utf-8", "surrogateescape")):
        if statement.words(3) == _SESSION:
            session, opened = statement, False
        elif statement.words(3) == _RESET:
            if opened:
                found.append(_escaped(statement.text))
            session, opened = None, False
        else:
            place = _name_place(statement, database)
            if place is None:
                continue
            if session is not None and not opened:
                found.append(_escaped(session.text))
                opened = True
            found.append(_template(statement, place))
    return tuple(found)


def owner_template(quoted_owner: str) -> str:
    """The one statement about a database that has nothing but an owner."""
    return f"ALTER DATABASE {{database}} OWNER TO {_escaped(quoted_owner)};"


def applied(lines: Sequence[str], quoted_name: str) -> list[str]:
    """The statements of templates, for the database of this (quoted) name."""
    return [line.format(database=quoted_name) for line in lines]


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _template(statement: Statement, place: int) -> str:
    token = statement.tokens[place]
    start = token.start - statement.tokens[0].start
    before, after = statement.text[:start], statement.text[start + len(token.text) :]
    return f"{_escaped(before)}{{database}}{_escaped(after)}"


def _name_place(statement: Statement, database: str) -> int | None:
    """The number of the token that is the database's name, in a statement that is about the database; else None."""
    words = statement.words(len(statement.tokens))
    place: int | None = None
    if words[:2] == ("ALTER", "DATABASE"):
        place = 2
    elif words[:3] == ("COMMENT", "ON", "DATABASE"):
        place = 3
    elif words[:2] == ("ALTER", "ROLE") and words[3:5] == ("IN", "DATABASE"):
        place = 5
    elif words[:1] in (("GRANT",), ("REVOKE",)) or words[:2] == ("SECURITY", "LABEL"):
        place = next((at + 2 for at in range(len(words) - 2) if words[at : at + 2] == ("ON", "DATABASE")), None)
    if place is None or place >= len(statement.tokens):
        return None
    token = statement.tokens[place]
    return place if token.kind == "name" and token.value == database else None
