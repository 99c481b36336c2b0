"""The tour of the README, run for real: ``python -m vya_backupd.testing.tour`` writes its output anew.

A tour is a Markdown text whose ``console`` blocks hold commands after ``$``, continued after ``>``, each followed by what
it printed. All commands run in one shell and one folder, with a private PostgreSQL that holds the sample data; the
shell's variables ``PGHOST``, ``PGPORT``, ``PGUSER`` and ``PGPASSWORD`` name it.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vya_backupd.testing import sample
from vya_backupd.testing.discover import find_servers
from vya_backupd.testing.servers import PrivateServer

FOLDER = "/home/ada/backups-tour"
"""The folder of the tour as the page shows it, instead of the temporary one."""
_BLOCK = re.compile(r"(?<=```console\n)(.*?)(?=```\n)", re.DOTALL)
_PROLOGUE = """
exec 2>&1
stop_daemon() { kill %% 2>/dev/null && wait; }
trap stop_daemon EXIT
"""
_AWAIT = "until vyactl health >/dev/null; do kill -0 $! || exit 70; done >/dev/null 2>&1\n"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page, and what it printed."""

    text: str
    output: str

    def __str__(self) -> str:
        first, *more = self.text.splitlines()
        return "\n".join([f"$ {first}", *(f"> {line}" for line in more), ""]) + self.output


def commands(page: str) -> list[Command]:
    """All commands of a page in their order."""
    return [each for block in _BLOCK.findall(page) for each in _commands_of(block)]


def _commands_of(block: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        length = 1
        while length < len(lines) and lines[length].startswith("> "):
            length += 1
        text = lines[0] + "".join(line[2:] for line in lines[1:length])
        yield Command(text.rstrip("\n"), "".join(lines[length:]))


def rewritten(page: str, ran: list[Command]) -> str:
    """The page with the blocks' commands as they ran."""
    left = iter(ran)
    return _BLOCK.sub(lambda found: "".join(str(next(left)) for _ in _commands_of(found[1])), page)


def walk(texts: list[str], server: PrivateServer, folder: Path) -> list[Command]:
    """Run the commands one after the other in ``folder``, which must be empty and have a short path.

    Whether a command succeeds is for the page to say (``echo $?``). A program in the background (``&``) is waited for
    until its daemon answers, and is ended with the tour.

    Raises:
        RuntimeError: the shell itself failed, or the daemon did not come up.
    """
    marker = secrets.token_hex(8)
    script = _PROLOGUE + "".join(
        f"{text}\n{_AWAIT if text.endswith('&') else ''}printf '\\n%s\\n' {marker}\n" for text in texts
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=_environment(server),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    *outputs, rest = done.stdout.replace(str(folder), FOLDER).split(f"\n{marker}\n")
    if len(outputs) != len(texts):
        message = f"the tour ended with {done.returncode} after {texts[len(outputs)]!r}: {rest}"
        raise RuntimeError(message)
    return [Command(text, output and output.rstrip("\n") + "\n") for text, output in zip(texts, outputs, strict=True)]


def _environment(server: PrivateServer) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VYA_", "PG"))}
    path = [str(Path(sys.executable).parent), str(server.tools["psql"].parent), kept.get("PATH", "")]
    return kept | {
        "PATH": ":".join(path),
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.admin_user,
        "PGPASSWORD": server.admin_password,
        "COLUMNS": "110",
        "TZ": "UTC",
        "VYA_MONITORING__HEALTH_CHECK__PORT": "0",
    }


def main() -> int:
    """Rewrite the output on the page named on the command line; README.md by default."""
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("README.md")
    spec = next(spec for spec in find_servers() if spec.kind == "postgresql" and "wheel" in spec.origin)
    with spec.start() as server, tempfile.TemporaryDirectory(prefix="vya-tour-") as folder:
        sample.fill(server)
        text = page.read_text()
        ran = walk([each.text for each in commands(text)], server, Path(folder))
        page.write_text(rewritten(text, ran))
    print(f"{page}: {len(ran)} commands, the last was {shlex.quote(ran[-1].text)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
