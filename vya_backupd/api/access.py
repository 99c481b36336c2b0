"""Who is on the other end of the control socket, and what that allows.

The kernel says: SO_PEERCRED gives process, user and one group; SO_PEERGROUPS the supplementary groups. Both are of the
moment when the peer connected. Under ``PrivateUsers=`` every peer would be 65534, which is why the unit leaves it off.
"""

from __future__ import annotations

import enum
import grp
import os
import pwd
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog

from vya_backupd.errors import DeniedError

_log = structlog.get_logger("vya.api")

SO_PEERGROUPS = 59
"""From ``asm-generic/socket.h``; Python's socket module has no name for it."""

OVERFLOW_ID = 65534
"""Whom the kernel names where a user or group has no number in our user namespace: ``nobody``, ``nogroup``."""

_MOST_GROUPS = 256
"""Python reads at most 1024 bytes from getsockopt. A peer with more groups is looked up in the group database."""


class Role(enum.IntEnum):
    """What a peer may do; a higher role may everything that a lower one may."""

    NONE = 0
    VIEWER = 1
    OPERATOR = 2


class _PeerSocket(Protocol):
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Peer:
    """The process on the other end."""

    pid: int
    uid: int
    gids: frozenset[int]

    @property
    def name(self) -> str:
        """How the peer is named as an actor: ``alice(1000)``, or ``uid(1000)`` where nobody knows its name."""
        try:
            user = pwd.getpwuid(self.uid).pw_name
        except KeyError:
            user = "uid"
        return f"{user}({self.uid})"


def peer_of(sock: _PeerSocket) -> Peer:
    """Ask the kernel.

    Raises:
        OSError: this is no connected Unix socket.
    """
    pid, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return Peer(pid, uid, frozenset({gid, *_supplementary(sock, uid, gid)}))


def _supplementary(sock: _PeerSocket, uid: int, gid: int) -> Iterable[int]:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _MOST_GROUPS * 4)
    except OSError:
        try:
            return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
        except (KeyError, OSError):
            return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)


def group_ids(names: Iterable[str]) -> list[int]:
    """Numbers of groups, in order. A group that this machine does not have is said in the log and left out.

    So is the one that stands for all groups of other user namespaces: whoever is in any of those would be in it.
    """
    ids = []
    for name in names:
        try:
            number = grp.getgrnam(name).gr_gid
        except KeyError:
            _log.warning("control.unknown_group", group=name)
            continue
        if number == OVERFLOW_ID:
            _log.warning("control.group_of_strangers", group=name)
            continue
        ids.append(number)
    return ids


def _is_ours(peer: Peer) -> bool:
    """Root, the daemon's user, or this very process. A daemon that runs as ``nobody`` does not know its own user."""
    own = os.geteuid()
    return peer.uid == 0 or peer.pid == os.getpid() or (peer.uid == own and own != OVERFLOW_ID)


class Access:
    """Roles by group; root and the daemon's own user are operators."""

    def __init__(self, operators: Iterable[str], viewers: Iterable[str]) -> None:
        self.change(operators, viewers)

    def change(self, operators: Iterable[str], viewers: Iterable[str]) -> None:
        """Use other groups from now on, for peers that are connected already too."""
        self.operator_gids = group_ids(operators)
        self.viewer_gids = group_ids(viewers)

    @property
    def of_socket(self) -> tuple[int | None, tuple[int, ...]]:
        """The group that the socket's file belongs to, and those that may connect besides."""
        return next(iter(self.operator_gids), None), (*self.operator_gids[1:], *self.viewer_gids)

    def role(self, peer: Peer) -> Role:
        """What this peer may do."""
        if _is_ours(peer) or not peer.gids.isdisjoint(self.operator_gids):
            return Role.OPERATOR
        return Role.NONE if peer.gids.isdisjoint(self.viewer_gids) else Role.VIEWER

    def demand(self, peer: Peer, needed: Role) -> None:
        """Let the peer pass.

        Raises:
            DeniedError: its role is lower than what is needed.
        """
        if self.role(peer) >= needed:
            return
        raise DeniedError(
            f"{peer.name} is not {'an operator' if needed is Role.OPERATOR else 'a viewer or operator'} of this daemon",
            hint=f"control.{'operators' if needed is Role.OPERATOR else 'viewers'} in the configuration names the groups",
        )
