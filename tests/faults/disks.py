"""Disks that fill up, die, or take their time; real ones, as far as the kernel lets us.

*Full*: a small tmpfs and ballast. *Dead*: an ext4 on a loop device that is shut down (``EXT4_IOC_SHUTDOWN``): from that
moment the kernel answers everything with EIO, as it does when a disk is pulled. *Slow*: strace holds each call that asks
the daemon's disk for durability; the limits of control groups do not reach what is written back later, and a file system
of our own would need FUSE.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SHUTDOWN = 0x8004587D
"""``_IOR('X', 125, __u32)`` of linux/ext4.h; its argument 2 throws the journal away as well."""


@dataclass
class Disk:
    """A mounted file system in a file. ``folder`` is where."""

    image: Path
    folder: Path

    def pull(self) -> None:
        """Let it die: every call gets EIO from now on, until ``plug``."""
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", 2))
        finally:
            os.close(fd)

    def plug(self) -> None:
        """Mount it anew, as after a repair. Whoever has files open there keeps the dead ones."""
        self.unmount()
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.folder)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@contextmanager
def disk(folder: Path, megabytes: int = 16) -> Iterator[Disk]:
    """A disk of its own, for root. SkipTest, by the caller's judgement, where ``can_mount`` is false."""
    folder.mkdir(parents=True)
    made = Disk(folder.with_suffix(".img"), folder)
    with made.image.open("wb") as image:
        image.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(made.image)], check=True)
    made.mount()
    try:
        yield made
    finally:
        made.unmount()
        made.image.unlink()


def can_mount() -> bool:
    """Whether this machine lets us mount a file in a loop device."""
    return os.geteuid() == 0 and Path("/dev/loop-control").exists()


@contextmanager
def slow(pid: int, seconds: float) -> Iterator[None]:
    """Hold every call of a process that makes files durable or gives them names for so long."""
    inject = f"inject=fsync,fdatasync,linkat,renameat2:delay_enter={int(seconds * 1e6)}"
    argv = ["strace", "-f", "-q", "-p", str(pid), "-e", "trace=fsync,fdatasync,linkat,renameat2", "-e", inject]
    with subprocess.Popen([*argv, "-o", "/dev/null"], stderr=subprocess.DEVNULL) as tracer:
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
