"""The one error that bad input raises, and how errors of the operating system are turned into it."""

from __future__ import annotations

import errno
import os
from typing import Any


class InputError(ValueError):
    """Bad input: says where, what was found, what was expected and what to do.

    Entry points print it without a traceback and exit with status 2 (see `cli.run`).
    """

    def __init__(self, where: str | os.PathLike[str], *, found: str, expected: str, fix: str):
        super().__init__(where, found, expected, fix)
        self.where = os.fspath(where)
        self.found = found
        self.expected = expected
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders pickled; the default would pass the fields by position.
        return _rebuild, (type(self), self.where, self.found, self.expected, self.fix)

    def __str__(self) -> str:
        return f"{self.where}\n  found:    {self.found}\n  expected: {self.expected}\n  to do:    {self.fix}"


def _rebuild(kind: type[InputError], where: str, found: str, expected: str, fix: str) -> InputError:
    return kind(where, found=found, expected=expected, fix=fix)


_DISK = "a working disk with free space"
_PATH = "a path that this command can use"
# By number: what was found, what was expected, what to do.
_OF_SYSTEM = {
    errno.ENOSPC: ("no space is left on the disk", _DISK, "free some space and run the same command again"),
    errno.EDQUOT: (
        "this user's share of the disk is full",
        _DISK,
        "free some space or ask for a larger quota",
    ),
    errno.EFBIG: ("a file larger than is allowed here", _DISK, "choose another disk, or raise `ulimit -f`"),
    errno.EIO: ("the disk or the network drive fails", _DISK, "check the disk, or work on another one"),
    errno.EROFS: ("a disk that can only be read", _PATH, "choose a place on another disk"),
    errno.EACCES: ("not permitted", _PATH, "change the permissions, or choose another place"),
    errno.EPERM: ("not permitted", _PATH, "change the permissions, or choose another place"),
    errno.ENOENT: ("no such file or folder", _PATH, "check the path"),
    errno.ENOTDIR: ("a file stands where a folder is needed", _PATH, "choose another path"),
    errno.EISDIR: ("a folder stands where a file is needed", _PATH, "choose another path"),
    errno.EEXIST: ("something else of this name is there", _PATH, "choose another path, or move it away"),
    errno.ENAMETOOLONG: ("a name that is too long for the disk", _PATH, "choose a shorter one"),
    errno.ELOOP: ("a link that leads back to itself", _PATH, "remove the link, or choose another path"),
    errno.EMFILE: ("too many open files", "more of them to be allowed", "raise `ulimit -n`"),
    errno.ENOMEM: ("no memory is left", "enough memory", "end other programs, or use a larger machine"),
}


def of_system(error: OSError, where: str | os.PathLike[str] | None = None) -> InputError:
    """What the operating system refused, as an `InputError` to raise or to print.

    Args:
        error: its file, if it has one, is named.
        where: the flag or the file to name in place of it.
    """
    path = error.filename2 or error.filename
    place = where if where is not None else path if isinstance(path, str) else "the operating system"
    found, expected, fix = _OF_SYSTEM.get(error.errno or 0, ("", _PATH, "check the path"))
    strerror = error.strerror or str(error)
    return InputError(place, found=f"{found} ({strerror})" if found else strerror, expected=expected, fix=fix)
