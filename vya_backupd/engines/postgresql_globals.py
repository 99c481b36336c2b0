"""Fits the output of ``pg_dumpall --globals-only`` to a server that is not quite empty.

``CREATE ROLE postgres`` fails on every server there is, and an error that stops must stop for a reason. So statements
that create what exists are left out, the account that does the restore keeps its own password and rights, and grants
name a grantor only where the target can accept it. Everything else runs as it is, and its errors are errors.
"""

from __future__ import annotations

from vya_backupd.engines.globals import GlobalsScript, GlobalsTarget
from vya_backupd.engines.statements import Statement, statements


def restore_script(text: bytes, target: GlobalsTarget) -> GlobalsScript:
    """The globals for this target, as SQL for psql."""
    source = list(statements(text.decode("utf-8", "surrogateescape")))
    superusers = {
        statement.tokens[2].value
        for statement in source
        if statement.words(2) == ("ALTER", "ROLE") and "SUPERUSER" in statement.words(6)
    }
    lines, notes = [], []
    for statement in source:
        line, note = _fitted(statement, target, superusers)
        lines += [line] if line else []
        notes += [note] if note else []
    return GlobalsScript(("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"), tuple(notes))


def _fitted(statement: Statement, target: GlobalsTarget, superusers: set[str]) -> tuple[str, str]:
    """The statement as it shall run (or nothing), and what to tell about it (or nothing)."""
    words = statement.words(4)
    name = statement.tokens[2].value if len(statement.tokens) > 2 else ""
    if words[:2] == ("CREATE", "ROLE") and name in target.roles:
        return "", f"role {name} exists and was not created"
    if words[:2] == ("CREATE", "TABLESPACE") and name in target.tablespaces:
        return "", f"tablespace {name} exists and was not created"
    if words[:2] == ("ALTER", "ROLE") and words[3:4] == ("WITH",) and name in (target.login, target.bootstrap):
        return "", f"role {name} keeps the rights and the password that it has here"
    if words[:1] == ("GRANT",):
        return _without_grantor(statement, target, superusers), ""
    return statement.text, ""


def _without_grantor(statement: Statement, target: GlobalsTarget, superusers: set[str]) -> str:
    """A membership whose grantor was the source's cluster owner is granted by the target's."""
    tokens = statement.tokens
    words = statement.words(len(tokens))
    if words[-3:-1] != ("GRANTED", "BY") or tokens[-1].value == target.bootstrap or tokens[-1].value not in superusers:
        return statement.text
    return statement.text[: tokens[-3].start - tokens[0].start].rstrip() + ";"
