"""Runs a unit's program under the unit's restrictions, without systemd: ``python -m tests.deployment.confine``.

Needs root, and a mount namespace of its own (``unshare --mount``). Of the unit these are enforced, by the means that
systemd itself uses:

* the file system: everything read-only but ReadWritePaths, State-, Logs- and RuntimeDirectory; /home and /root empty;
  a /tmp and a small /dev of its own; /proc without other users' processes and without settings (ProtectProc, ProcSubset)
* User, Group and all groups of that user; no capability; no new privileges; UMask; LimitCORE and LimitNOFILE
* SystemCallFilter, RestrictAddressFamilies and MemoryDenyWriteExecute, the last by the kernel's own switch for it
* LoadCredential: readable for the user through an access control list only; Environment; watchdog and notify socket

What it cannot do: control groups (OOMPolicy, DeviceAllow, IPAddressDeny), namespaces and realtime filters.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import resource
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from tests.deployment.unitfile import read_unit, seconds

_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_SET_MDWE = 38, 24, 65
_ALLOW, _ERRNO_EPERM, _ERRNO_EAFNOSUPPORT = 0x7FFF0000, 0x00050001, 0x00050061
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LAST_FAMILY = 45
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Become the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--lend", type=Path, action="append", default=[])
    parser.add_argument("--unit", type=Path)
    parser.add_argument("--notify", default="")
    parser.add_argument("--command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    if asked.command:
        _mount(asked.root, asked.lend, writable=["/"])
        os.chroot(asked.root)
        os.chdir("/")
        os.execve(asked.command[0], asked.command, {"PATH": "/usr/bin:/bin"})
    unit = read_unit(asked.unit)
    service = unit["Service"]
    writable = [*_words(service, "ReadWritePaths"), *_made_directories(service, asked.root)]
    _mount(asked.root, asked.lend, writable=writable)
    _hand_over_credentials(asked.unit.name, service, asked.root)
    filters = _Filters(service)
    os.chroot(asked.root)
    os.chdir("/")
    environment = _environment(asked.unit.name, service, asked.notify)
    program = shlex.split(service["ExecStart"][0].replace("$MAINPID", str(os.getpid())))
    for before in service.get("ExecStartPre", []):
        subprocess.run(shlex.split(before), env=environment, check=True)
    _drop_rights(service)
    filters.load()
    os.execve(program[0], program, environment)


def _words(service: dict[str, list[str]], key: str) -> list[str]:
    return [word for value in service.get(key, []) for word in value.split()]


def _mount(root: Path, lent: list[Path], writable: list[str]) -> None:
    """The tree of the machine, read-only but for ``writable``."""
    _run("mount", "--bind", root, root)
    for path in writable:
        if path != "/":
            _run("mount", "--bind", root / path.lstrip("/"), root / path.lstrip("/"))
    _run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "tmp")
    for folder in [Path("/usr"), *lent]:
        target = root / str(folder).lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", folder, target)
        _run("mount", "-o", "remount,bind,ro,nosuid", target)
    _run("mount", "-t", "tmpfs", "-o", "mode=0755,noexec", "tmpfs", root / "dev")
    for name in _DEVICES:
        (root / "dev" / name).touch()
        _run("mount", "--bind", f"/dev/{name}", root / "dev" / name)
    (root / "dev/shm").mkdir()
    _run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "dev/shm")
    _run("mount", "-t", "proc", "-o", "hidepid=invisible,subset=pid", "proc", root / "proc")
    if writable != ["/"]:
        _run("mount", "-o", "remount,bind,ro", root)


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stdin=subprocess.DEVNULL)


def _made_directories(service: dict[str, list[str]], root: Path) -> list[str]:
    uid, gid = _ids(service, root)
    made = []
    for key, parent in (("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log"), ("RuntimeDirectory", "/run")):
        for name in _words(service, key):
            folder = root / parent.lstrip("/") / name
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(int(service.get(f"{key}Mode", ["0755"])[-1], 8))
            os.chown(folder, uid, gid)
            made.append(f"{parent}/{name}")
    return made


def _ids(service: dict[str, list[str]], root: Path) -> tuple[int, int]:
    users = dict(_entries(root / "etc/passwd"))
    groups = dict(_entries(root / "etc/group"))
    return users[service["User"][0]], groups[service["Group"][0]]


def _entries(path: Path) -> list[tuple[str, int]]:
    return [(line.split(":")[0], int(line.split(":")[2])) for line in path.read_text().splitlines()]


def _hand_over_credentials(unit: str, service: dict[str, list[str]], root: Path) -> None:
    """As systemd does: a small file system of its own, files of root's that the user may read through an ACL."""
    loaded = service.get("LoadCredential", [])
    if not loaded:
        return
    uid, _ = _ids(service, root)
    folder = root / "run/credentials" / unit
    _run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", folder.parent)
    folder.mkdir(mode=0o500)
    for entry in loaded:
        name, _, source = entry.partition(":")
        target = folder / name
        shutil.copyfile(root / source.lstrip("/"), target)
        target.chmod(0o400)
        os.setxattr(target, "system.posix_acl_access", _readable_by(uid, 4))
    os.setxattr(folder, "system.posix_acl_access", _readable_by(uid, 5))
    _run("mount", "-o", "remount,ro", folder.parent)


def _readable_by(uid: int, rights: int) -> bytes:
    none = 0xFFFFFFFF
    entries = [(1, rights, none), (2, rights, uid), (4, 0, none), (16, rights, none), (32, 0, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _environment(unit: str, service: dict[str, list[str]], notify: str) -> dict[str, str]:
    user = service["User"][0]
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8", "USER": user}
    environment |= dict(entry.split("=", 1) for entry in service.get("Environment", []))
    if "LoadCredential" in service:
        environment["CREDENTIALS_DIRECTORY"] = f"/run/credentials/{unit}"
    if notify and service.get("NotifyAccess"):
        watched = int(seconds(service["WatchdogSec"][-1]) * 1_000_000)
        environment |= {"NOTIFY_SOCKET": notify, "WATCHDOG_USEC": str(watched), "WATCHDOG_PID": str(os.getpid())}
    return environment


def _drop_rights(service: dict[str, list[str]]) -> None:
    """In the chroot, where the machine's own users are. The system calls for it are filtered afterwards."""
    limits = {"LimitCORE": resource.RLIMIT_CORE, "LimitNOFILE": resource.RLIMIT_NOFILE}
    for key, limit in limits.items():
        if key in service:
            most = resource.getrlimit(limit)[1]  # a machine may keep even root from raising it
            wanted = int(service[key][-1])
            allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
            resource.setrlimit(limit, (allowed, allowed))
    os.umask(int(service["UMask"][-1], 8))
    if service["CapabilityBoundingSet"] != []:
        sys.exit("only an empty CapabilityBoundingSet is understood")
    for capability in range(41):
        _check(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))
    uid, gid = _ids(service, Path("/"))
    members = [line.split(":") for line in Path("/etc/group").read_text().splitlines()]
    os.setgroups([int(entry[2]) for entry in members if service["User"][0] in entry[3].split(",")] + [gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    denied = service.get("MemoryDenyWriteExecute") == ["yes"]
    if denied and _libc.prctl(_PR_SET_MDWE, 1, 0, 0, 0) and ctypes.get_errno() != errno.EINVAL:
        _check(-1)  # kernels before 6.3 have no such switch


def _check(result: int) -> None:
    if result != 0:
        number = result if result > 0 else ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _Filters:
    """SystemCallFilter and RestrictAddressFamilies, through libseccomp. Made while the library can still be found."""

    def __init__(self, service: dict[str, list[str]]) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        calls, families = self._new(_ERRNO_EPERM), self._new(_ALLOW)
        for name in sorted(_allowed(service.get("SystemCallFilter", []))):
            number = self._library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:  # others are of other machines
                self._rule(calls, _ALLOW, number)
        socket = self._library.seccomp_syscall_resolve_name(b"socket")
        wanted = {_FAMILIES[family] for family in _words(service, "RestrictAddressFamilies")}
        for family in set(range(_LAST_FAMILY + 1)) - wanted:
            self._rule(families, _ERRNO_EAFNOSUPPORT, socket, _Comparison(0, 4, family, 0))
        self._filters = [families, calls]

    def _new(self, otherwise: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def _rule(self, rules: ctypes.c_void_p, action: int, number: int, *comparisons: _Comparison) -> None:
        array = (_Comparison * len(comparisons))(*comparisons)
        call = self._library.seccomp_rule_add_array
        _check(-call(rules, ctypes.c_uint32(action), number, len(comparisons), array))

    def load(self) -> None:
        """Put them into force, for this process and all that come of it."""
        for rules in self._filters:
            _check(-self._library.seccomp_load(rules))


class _Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``; operation 4 is "equal"."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def _allowed(lines: list[str]) -> set[str]:
    """The system calls that the lines leave, in their order, as the unit's manual says. systemd names its sets itself."""
    allowed: set[str] = set()
    for line in lines:
        names = {call for word in line.lstrip("~").split() for call in _members(word)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    # What systemd always lets pass, for its own last steps before the program runs.
    return allowed | {"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn"}


def _members(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", word], check=True, capture_output=True, text=True)
    found = set()
    for line in listed.stdout.splitlines()[1:]:
        name = line.strip()
        if name and not name.startswith("#"):
            found |= _members(name)
    return found


if __name__ == "__main__":
    main()
