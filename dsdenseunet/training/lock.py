"""One process at a time trains in a workdir."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from dsdenseunet.core.errors import InputError

LOCK_FILE = ".lock"


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the workdir where need be and holds it until the block ends.

    The kernel releases the lock when its process dies, however it dies: a lock is never stale, and the
    file that stays behind means nothing by itself.

    Raises:
        InputError: another process holds it (says which), or the workdir cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        handle = os.open(workdir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(
            workdir,
            found=f"cannot be written: {error.strerror}",
            expected="a folder that this user can write to",
            fix="give another --workdir, or change its permissions",
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                workdir,
                found=f"in use by {_holder(handle)}",
                expected="a workdir that no other process trains in",
                fix="wait for that process, stop it, or give another --workdir",
            ) from None
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": " ".join(sys.argv),
        }
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)
        yield
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, 65536, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']} ({holder['command']})"
    except (ValueError, KeyError):
        return "another process"
