"""One's own scans in a notebook: a folder, an archive, or either of them on Google Drive."""

from __future__ import annotations

import shutil
from pathlib import Path

from dsdenseunet.core.errors import InputError

_DRIVE = Path("/content/drive")


def folder(path: str, unpack_to: str = "own/data") -> str:
    """The folder of the scans that `path` holds.

    Args:
        path: a folder, or an archive of one (.zip, .tar, .tar.gz); below /content/drive, Google Drive is
            connected first, which asks for leave.
        unpack_to: where an archive is unpacked; what was unpacked there before is replaced.

    Raises:
        InputError: there is no such file or folder, or the file is no archive.
    """
    given = Path(path)
    if given.is_relative_to(_DRIVE) and not (_DRIVE / "MyDrive").is_dir():
        from google.colab import drive

        drive.mount(str(_DRIVE))
    if given.is_dir():
        return str(given)
    if not given.is_file():
        raise InputError(
            path,
            found="no such file or folder",
            expected="a folder of scans, or an archive of one",
            fix="copy the path from the Files panel on the left (right click > Copy path)",
        )
    shutil.rmtree(unpack_to, ignore_errors=True)
    try:
        if ".tar" in given.suffixes:
            shutil.unpack_archive(path, unpack_to, filter="data")
        else:
            shutil.unpack_archive(path, unpack_to)
    except (shutil.ReadError, ValueError) as error:
        raise InputError(
            path,
            found=str(error),
            expected="a .zip, .tar or .tar.gz of a folder of scans",
            fix="pack the folder again, as one of these",
        ) from error
    # An archive of a folder holds that folder alone, beside what macOS adds.
    inner = [entry for entry in Path(unpack_to).iterdir() if entry.name != "__MACOSX"]
    return str(inner[0] if len(inner) == 1 and inner[0].is_dir() else unpack_to)
