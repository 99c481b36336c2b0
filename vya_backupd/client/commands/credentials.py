"""``credentials``: make, check and re-encrypt the file of logins; no daemon is needed."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from vya_backupd.client import shown
from vya_backupd.client.command import ConfigOption, command
from vya_backupd.client.session import DEFAULT_CONFIG, Session


class KeyMethod(enum.StrEnum):
    """Where the key of a credentials file comes from; the words of its ``key_derivation``."""

    KEY_FILE = "key-file"
    SYSTEMD = "systemd-credential"
    ENVIRONMENT = "environment"
    HOSTNAME = "hostname-based"


KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="PATH", help="The file of the key. [default: beside the credentials file]"),
]
CredentialsFile = Annotated[
    Path | None,
    typer.Option(
        "--file", "-f", metavar="PATH", help="The credentials file. [default: the one that the configuration names]"
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    group = typer.Typer(rich_markup_mode=None)
    app.add_typer(group, name="credentials", help="Encrypt, check and rotate the credentials file.")
    command(
        group,
        "encrypt",
        examples=(
            "vyactl credentials encrypt --input plain.json --output .secrets/credentials.json",
            "vyactl credentials encrypt --input plain.json --output credentials.json --method systemd-credential",
        ),
        exits=(78,),
        daemon=False,
        form=False,
    )(encrypt)
    command(
        group,
        "check",
        examples=("vyactl credentials check", "vyactl credentials check --file .secrets/credentials.json"),
        exits=(78,),
        daemon=False,
    )(check)
    command(
        group,
        "rotate",
        examples=("vyactl credentials rotate", "vyactl credentials rotate --file .secrets/credentials.json"),
        exits=(78,),
        daemon=False,
    )(rotate)


def encrypt(
    session: Session,
    input_: Annotated[
        Path, typer.Option("--input", metavar="PATH", help="The file with plain user names and passwords.")
    ],
    output: Annotated[Path, typer.Option("--output", metavar="PATH", help="Where the encrypted file goes.")],
    method: Annotated[KeyMethod, typer.Option("--method", help="Where the key comes from.")] = KeyMethod.KEY_FILE,
    key_file: KeyFile = None,
) -> int:
    """Encrypt a credentials file.

    The input has the form of a credentials file with plain user names and passwords; the output, mode 0600, has them
    encrypted. A random key is made at first use and kept in a file of mode 0600 beside the output, unless --method
    says otherwise. 'hostname-based' is for files that other tools must read: a host name is no secret. Delete the
    plain input afterwards.
    """
    from vya_backupd.client import standalone

    record = standalone.encrypt_credentials(input_, output, method.value, key_file)
    _tell(session, record, f"{record['file']}: encrypted")
    return 0


def check(session: Session, file: CredentialsFile = None, key_file: KeyFile = None, config: ConfigOption = None) -> int:
    """Check that the credentials file can be read: its mode, its form, its key. No server is asked."""
    from vya_backupd.client import standalone

    record = standalone.check_credentials(config or DEFAULT_CONFIG, file, key_file)
    _tell(session, record, f"{record['file']}: readable, {shown.count(len(record['instances']), 'instance')}")
    return 0


def rotate(
    session: Session,
    file: CredentialsFile = None,
    key_file: KeyFile = None,
    config: ConfigOption = None,
    method: Annotated[
        KeyMethod | None, typer.Option("--method", help="Change where the key comes from. [default: as it is]")
    ] = None,
    old_hostname: Annotated[
        str | None,
        typer.Option("--old-hostname", metavar="NAME", help="What the machine was called when the file was written."),
    ] = None,
) -> int:
    """Re-encrypt the credentials file with a new key, atomically.

    A key file gets a new random key; the old keys stay behind it, so that older copies of the file can still be read.
    With a key from systemd or the environment, put the new key first there, then rotate. A file encrypted with the
    host name moves to a key file, unless --method says otherwise.
    """
    from vya_backupd.client import standalone

    record = standalone.rotate_credentials(
        config or DEFAULT_CONFIG, file, key_file, method.value if method else None, old_hostname
    )
    _tell(session, record, f"{record['file']}: encrypted anew")
    return 0


def _tell(session: Session, record: dict[str, Any], text: str) -> None:
    """The record, or its instances, the key's origin and what to look at."""
    if session.screen.is_json:
        session.screen.json(record)
        return
    rows = [(item["id"], item["type"], shown.yes_no(item["enabled"])) for item in record["instances"]]
    session.screen.table(("INSTANCE", "TYPE", "ENABLED"), rows)
    session.screen.say(f"{text}; key: {record['key_derivation']}, {shown.plain(record['key_source'])}")
    for warning in record["warnings"]:
        session.screen.say(f"warning: {shown.plain(warning)}")
