"""One process at a time works in a folder."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError

LOCK_FILE = ".lock"
# A file of its own: Windows lets nobody else read one that is locked.
HOLDER_FILE = ".lock.json"


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], work: str) -> Iterator[None]:
    """Makes a folder where need be and holds it until the block ends.

    The operating system releases the lock when its process dies, however it dies: a lock is never stale, and
    the files that stay behind mean nothing by themselves. On a disk that has no locks, a marker of filelock's
    takes their place, and it warns of that.

    Args:
        folder: to hold.
        work: what is done in it, such as "trains".

    Raises:
        InputError: another process holds it (says which), or the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            folder,
            found=f"in use by {_holder(folder)}",
            expected=f"a folder in which no other process {work}",
            fix="wait for that process, stop it, or choose another folder",
        ) from None
    except OSError as error:
        raise InputError(
            folder,
            found=f"cannot be written: {error.strerror}",
            expected="a folder that this user can write to",
            fix="choose another folder, or change its permissions",
        ) from error
    try:
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": " ".join(sys.argv),
        }
        # Only a note: where it cannot be read, the message says less.
        (folder / HOLDER_FILE).write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        (folder / HOLDER_FILE).unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        holder = files.read_object(folder / HOLDER_FILE, "pid", "host", "since", "command")
    except (InputError, OSError):
        return "another process"
    return f"process {holder['pid']} on {holder['host']} since {holder['since']} ({holder['command']})"
