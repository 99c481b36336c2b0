"""``config``: is it valid, what is in force, do the servers let us in."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vya_backupd.client import shown
from vya_backupd.client.command import ConfigOption, command
from vya_backupd.client.session import DEFAULT_CONFIG, Session
from vya_backupd.client.transport import PATIENT_SECONDS
from vya_backupd.errors import VyaError


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    group = typer.Typer(rich_markup_mode=None)
    app.add_typer(group, name="config", help="Check the configuration and the way to the servers.")
    command(
        group,
        "validate",
        examples=("vyactl config validate", "vyactl config validate --config ./config.yaml"),
        exits=(78,),
        daemon=False,
    )(validate)
    command(group, "show", examples=("vyactl config show", "vyactl config show --config ./config.yaml"), exits=(78,))(
        show
    )
    command(
        group,
        "test-connections",
        examples=("vyactl config test-connections", "vyactl config test-connections --instance prod-pg"),
        exits=(3, 4),
    )(connect)


def validate(session: Session, config: ConfigOption = None) -> int:
    """Check configuration and credentials, without a daemon.

    Reports every mistake at once, each with its place and the nearest known key. Nothing is changed, and no server is
    asked: for that there is 'config test-connections'. Run it as the daemon's user, or files that only the daemon may
    read are mistakes.
    """
    from vya_backupd.client import standalone

    record = standalone.validate(config or DEFAULT_CONFIG)
    if session.screen.is_json:
        session.screen.json(record)
        return 0
    rows = [(item["id"], item["type"], shown.yes_no(item["enabled"])) for item in record["instances"]]
    session.screen.table(("INSTANCE", "TYPE", "ENABLED"), rows)
    session.screen.say(f"{record['config']}: valid, {shown.count(len(rows), 'instance')}")
    for warning in record["warnings"]:
        session.screen.say(f"warning: {shown.plain(warning)}")
    return 0


def show(
    session: Session,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="Show this file instead of what the daemon runs with."),
    ] = None,
) -> int:
    """Show the configuration in force, defaults filled in and secrets masked.

    Asks the daemon what it runs with; --config reads a file instead.
    """
    if config is not None:
        from vya_backupd.client import standalone

        record = standalone.show_config(config)
    else:
        with session.daemon() as client:
            record = client.get("/v1/config")
    if session.screen.is_json:
        session.screen.json(record)
        return 0
    import yaml

    session.screen.answer(yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120).rstrip())
    return 0


def connect(
    session: Session,
    instance: Annotated[str | None, typer.Option("--instance", "-i", metavar="ID", help="Only this instance.")] = None,
) -> int:
    """Let the daemon log in to the servers, and say what it met.

    Exit code 3 when some servers refused or did not answer, 1 when none did.
    """
    with session.daemon() as client:
        answer = client.post("/v1/connections/test", {"instance": instance}, timeout=PATIENT_SECONDS)
    found = list(answer["connections"])
    if session.screen.is_json:
        session.screen.json({"connections": found})
    else:
        rows = [(item["instance"], "ok" if item["ok"] else "FAILED", _server(item)) for item in found]
        session.screen.table(("INSTANCE", "RESULT", "SERVER"), rows)
    for item in found:
        if not item["ok"]:
            _explain(session, item)
    failed = sum(not item["ok"] for item in found)
    return 0 if not failed else 3 if failed < len(found) else 1


def _server(item: dict[str, Any]) -> str:
    """What the server says of itself, or which error it gave."""
    if not item["ok"]:
        return str((item.get("error") or {}).get("code", "-"))
    server = item.get("server")
    if isinstance(server, dict):
        return str(server.get("version_text") or server.get("version") or "-")
    return str(server or "-")


def _explain(session: Session, item: dict[str, Any]) -> None:
    error = VyaError.from_json(item.get("error") or {})
    session.screen.say(f"error: {shown.plain(item['instance'])}: {shown.paragraphs(error.message)}")
    if error.hint:
        session.screen.say(f"hint:  {shown.paragraphs(error.hint)}")
