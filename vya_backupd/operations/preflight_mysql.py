"""What a backup of MySQL or MariaDB needs of a server: the accounts in whose name views, routines, triggers and events run.

The servers take definers that they do not know, and fail when somebody uses what these define. So that is a warning, with
the ways out, before anything is touched.
"""

from __future__ import annotations

from collections.abc import Sequence

from vya_backupd.engines import mysql_definers
from vya_backupd.engines.mysql_definers import may_set_definers, right_to_set_definers
from vya_backupd.engines.mysql_globals import quoted_account
from vya_backupd.errors import ServerError, TargetError
from vya_backupd.model.backup import BackupFacts
from vya_backupd.model.instance import EngineKind
from vya_backupd.model.secret import mask_user
from vya_backupd.operations.fitting import account_of
from vya_backupd.operations.requests import RestoreRequest
from vya_backupd.operations.site import Site
from vya_backupd.operations.sources import Source
from vya_backupd.operations.targets import Target
from vya_backupd.probe.postgresql import listed

_SHOWN = 20
Account = tuple[str, str]


async def definer_doubts(site: Site, source: Source, target: Target, request: RestoreRequest) -> tuple[str, ...]:
    """What will become of all that runs in somebody's name, where that is doubtful.

    Raises:
        TargetError: as ``check_definers``.
    """
    facts = source.facts
    if facts is None or target.instance.kind is EngineKind.POSTGRESQL:
        return ()
    return await check_definers(site, facts, target, mysql_definers.of_properties(facts.properties), request)


async def check_definers(
    site: Site, facts: BackupFacts | None, target: Target, recorded: Sequence[Account], request: RestoreRequest
) -> tuple[str, ...]:
    """The same of these definers, which the backup ``recorded``, or which stand in a dump that has no ``facts``.

    Raises:
        TargetError: ``target_lacks``: the account that is to be definer does not exist there;
            ``target_unsuitable``: this account may name nobody but itself.
    """
    definers = definers_of(request, recorded)
    if not definers:
        return ()
    try:
        there = await site.probe.globals_target(target.instance)
    except ServerError:
        return (
            f"the account may not read which accounts exist on {target.instance.id}: definers may be unknown there",
        )
    unknown = [each for each in definers if "@".join(each) not in there.roles]
    others = [each for each in definers if "@".join(each) != there.login]
    if request.definer == "replace" and unknown and not request.globals:
        raise TargetError(
            f"the account {quoted_account(*unknown[0])} does not exist on {target.instance.id}",
            code="target_lacks",
            hint="Create it first, name another with --definer-user, or --definer strip: the account that restores.",
            instance=target.instance.id,
            database=target.database,
        )
    if others:
        await _refuse_powerless(site, target)
    return () if request.globals or not unknown else (_orphans(facts, target, unknown),)


async def _refuse_powerless(site: Site, target: Target) -> None:
    """Nobody may make a view in the name of another without the right to do so. Rights that roles give are not known."""
    grants = await site.probe.grants(target.instance)
    if may_set_definers(grants, target.server):
        return
    right = right_to_set_definers(target.server)
    raise TargetError(
        f"the account that restores onto {target.instance.id} may not make views, routines, triggers or events in the"
        " name of others, as the backup has them",
        code="target_unsuitable",
        hint=f"GRANT {right} ON *.* TO {grants.name}; or --definer strip, which makes them its own.",
        instance=target.instance.id,
        database=target.database,
    )


def _orphans(facts: BackupFacts | None, target: Target, unknown: Sequence[Account]) -> str:
    names = listed([f"{mask_user(user)}@{host}" for user, host in unknown], _SHOWN)
    origin = repr(facts.database) if facts else "the dump"
    users = "Restore the users, too (--globals), or create them" if facts else "Create them"
    return (
        f"{names} defined views, routines, triggers or events of {origin} and {_are(unknown)} on"
        f" {target.instance.id}: these are restored as they were, and fail when they are used. {users}; or --definer strip: the account that restores becomes the definer; or --definer"
        " replace --definer-user USER@HOST"
    )


def _are(accounts: Sequence[Account]) -> str:
    return "does not exist" if len(accounts) == 1 else "do not exist"


def named_definers(facts: BackupFacts | None, request: RestoreRequest) -> list[Account]:
    """The definers that the text of a backup names when it is restored as this request wants it."""
    return [] if facts is None else definers_of(request, mysql_definers.of_properties(facts.properties))


def definers_of(request: RestoreRequest, recorded: Sequence[Account]) -> list[Account]:
    """The definers that the restored text names, of those that the backup does."""
    if request.definer == "strip" or not recorded:
        return []
    return [account_of(request.definer_user)] if request.definer_user is not None else list(recorded)
