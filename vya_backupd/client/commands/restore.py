"""``restore``: show the plan, have it confirmed where something would be overwritten, submit, stay."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vya_backupd.client import plan, shown
from vya_backupd.client.command import command
from vya_backupd.client.commands.backups import list_backups
from vya_backupd.client.commands.restore_options import (
    CareOptions,
    FitOptions,
    IntoTableOptions,
    SourceOptions,
    SpeedOptions,
    TableOptions,
    TargetOptions,
)
from vya_backupd.client.session import Session
from vya_backupd.client.transport import PATIENT_SECONDS, ControlClient
from vya_backupd.client.watch import submit
from vya_backupd.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(
        app,
        "restore",
        examples=(
            "vyactl restore --list --instance prod-pg",
            "vyactl restore --instance prod-pg --database shop --latest --target-database shop_copy",
            'vyactl restore --instance prod-pg --database shop --datetime "2026-01-09 10:00:00" --overwrite',
            "vyactl restore --instance prod-pg --all --globals --target-instance new-pg",
            "vyactl restore --file /srv/old/shop.sql.gz --target-instance new-pg --target-database shop",
            "vyactl restore --instance prod-pg --database shop --latest --table public.orders --target-table orders_old",
            "vyactl restore --backup ID --target-instance new-pg --no-owner --no-privileges --skip-extension pg_cron",
            "vyactl restore --interactive",
        ),
        exits=(3, 4, 5, 6, 78, 130),
        standalone=True,
    )(restore)


def restore(
    session: Session,
    *,
    list_: Annotated[bool, typer.Option("--list", help="List the backups that could be restored.")] = False,
    source: SourceOptions,
    target: TargetOptions,
    care: CareOptions,
    how: SpeedOptions,
    fit: FitOptions,
    table: TableOptions,
    into: IntoTableOptions,
) -> int:
    """Restore a database, a file or a whole server.

    The file is verified before the target is touched. A target that exists and is not empty is refused unless
    --overwrite is given; then the database is restored beside the original and swapped in at the end, so that a
    failure leaves the original as it was. What will happen is shown first. --overwrite asks for the target's name
    typed back, unless --yes; without a terminal it needs --yes.

    What the backup needs of the target's server is asked first: on PostgreSQL roles, extensions and tablespaces that are
    missing are refused, all at once; on MySQL and MariaDB definers that do not exist there are warned of. --definer,
    --no-owner, --no-privileges, --no-tablespaces and --skip-extension are the ways to do without. The file stays as it is.

    --table restores single tables, with what belongs to them: partitions, sequences of columns, indexes, keys, triggers,
    rights, comments. Only the bytes of these tables are read and verified. A table that exists is left alone; --overwrite
    replaces it in one step when its successor is whole, --target-table gives the restored one another name, and
    --data-only puts the rows into it when it has none. Without --table, --data-only puts the rows of all tables into those
    of a database that has these tables, empty.
    """
    if list_:
        return list_backups(session, source.instance, source.database, None)
    request: dict[str, Any] = {}
    for options in (source, target, care, how, fit, table, into):
        request |= options.request()
    return _run(session, request, interactive=care.interactive, yes=care.yes)


def _run(session: Session, request: dict[str, Any], *, interactive: bool, yes: bool) -> int:
    if interactive:
        session.require_terminal("--interactive asks questions", "Name backup and target by options instead.")
    else:
        check(request)
    if request["overwrite"] and not yes and not request["dry_run"]:
        session.require_terminal("--overwrite needs a confirmation", "Add --yes when the target is surely meant.")
    with session.daemon() as client:
        if interactive:
            from vya_backupd.client.interactive import choose

            choose(session, client, request)
        if request["dry_run"] and (request.get("tables") or request["data_only"]):
            plan.show(session.screen, client.post("/v1/restore/plan", request, timeout=PATIENT_SECONDS)["plan"])
        elif not request["dry_run"]:
            _confirm(session, client, request, yes=yes, interactive=interactive)
        return submit(session, client, "restore", request, verbose=bool(request["dry_run"]))


def _confirm(session: Session, client: ControlClient, request: dict[str, Any], *, yes: bool, interactive: bool) -> None:
    """Show the plan; where it overwrites, have the target's name typed back. Raises UsageError on another answer."""
    proposal = client.post("/v1/restore/plan", request, timeout=PATIENT_SECONDS)["plan"]
    plan.show(session.screen, proposal)
    target = plan.overwritten(proposal, request)
    if target is not None:
        question = f"This replaces what is in {shown.plain(target)}. Type its name to go on:"
        if not yes and session.ask(question) != target:
            raise UsageError(
                "the name typed is not the target's", code="confirmation_required", hint="Nothing was done."
            )
        request["confirmed_target"] = target
    elif interactive and not yes and session.ask("Restore now? [y/N]").strip().lower() not in {"y", "yes"}:
        raise UsageError("not confirmed", code="confirmation_required", hint="Nothing was done.")


def check(request: dict[str, Any]) -> None:
    """Refuse what cannot be meant, before anybody is asked.

    Raises:
        UsageError: options contradict each other, or one is missing.
    """
    sources = [name for name, key in _SOURCES.items() if request[key]]
    if request["all"]:
        _check_all(request, sources)
    elif len(sources) != 1:
        given = f"{' and '.join(sources)} exclude each other" if sources else "nothing says which backup is meant"
        raise UsageError(given, hint=f"Give one of {', '.join(_SOURCES)} or --all; or see --list and --interactive.")
    elif request["file"] or request["backup_id"]:
        _check_single(request, sources[0])
    elif not request["instance"] or not (request["database"] or request["globals"]):
        raise UsageError(f"{sources[0]} needs --instance and --database", hint="Name both.")


def _check_single(request: dict[str, Any], source: str) -> None:
    if request["instance"] or request["database"] or request["globals"]:
        raise UsageError(
            f"{source} says all about the backup: leave out --instance, --database and --globals",
            hint="Where it goes is said by --target-instance and --target-database.",
        )


_SOURCES = {"--latest": "latest", "--datetime": "datetime", "--file": "file", "--backup": "backup_id"}


def _check_all(request: dict[str, Any], sources: list[str]) -> None:
    if not set(sources) <= {"--latest", "--datetime"} or len(sources) > 1:
        raise UsageError(
            f"--all and {' and '.join(sources)} exclude each other", hint="--all takes --datetime at most."
        )
    if not request["instance"]:
        raise UsageError("--all needs --instance", hint="Name the instance whose backups are meant.")
    if not request["target_instance"] and not request["dry_run"]:
        raise UsageError(
            "--all needs --target-instance",
            hint="Name the empty server to restore onto; it may be the instance itself when its server is new.",
        )
    if request["database"] or request["target_database"]:
        raise UsageError("--all takes every database under its own name", hint="Leave the database options out.")
