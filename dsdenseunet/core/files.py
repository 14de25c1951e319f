"""Files that are either whole or absent, written to a temporary name first; outputs tried before any work."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsdenseunet.core.errors import InputError, of_system

# How many bytes of a file's name its temporary name ends with: enough for the extension, and not too long.
_ENDING = 16


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` when the block ends without an error.

    The temporary name ends as `path` does, so that writers that go by the suffix work. On an error
    the temporary file is removed and `path` stays as it was; an error of the disk names `path`.
    """
    target = Path(path)
    temporary = target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=".partial-", suffix="-" + target.name[-_ENDING:], dir=target.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as stream:  # Windows flushes only what could be written to.
            os.fsync(stream.fileno())
        # mkstemp makes files that only their owner can read; a result is as readable as any other file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        if error.errno is not None and (error.filename is None or temporary.name in str(error.filename)):
            error.filename, error.filename2 = str(target), None
        raise
    finally:
        if temporary is not target:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; renames it to `path` when the block ends without an error.

    On an error nothing is left behind. `path` must be as `check_new_folder` wants it.
    """
    target = Path(path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        yield temporary
        # mkdtemp makes folders that only their owner can enter.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        if target.is_dir():
            target.rmdir()  # Windows replaces no folder, not even an empty one.
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_new_folder(path: str | os.PathLike[str]) -> None:
    """Checks that there is nothing yet in a folder, which need not exist.

    Raises:
        InputError: it has something in it, or is a file.
    """
    folder = Path(path)
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if os.path.lexists(folder):
        raise InputError(
            path,
            found="a folder with something in it" if folder.is_dir() else "a file",
            expected="a folder that is not there yet, or empty",
            fix="choose another folder, or move this one away",
        )


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Writes `text` as UTF-8, whole or not at all.

    A file's name need not be UTF-8; its other bytes are then written as Python shows them: `M\udcfcller`.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_text(path: str | os.PathLike[str], expected: str = "a text file in UTF-8") -> str:
    """Reads a text file.

    Raises:
        InputError: no such file, or not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, found="no such file", expected=expected, fix="check the path") from None
    except UnicodeDecodeError as error:
        raise InputError(
            path, found=f"not UTF-8: {error}", expected=expected, fix="restore or remove the file"
        ) from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file.

    Raises:
        InputError: no such file, or not JSON, which has neither NaN nor infinity.
    """
    text = read_text(path, expected="a JSON file")
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(
            path, found=f"not JSON: {error}", expected="a JSON file", fix="restore or remove the file"
        ) from error


def read_object(path: str | os.PathLike[str], *names: str) -> dict[str, Any]:
    """Reads a JSON file that this program wrote: an object that has at least these names.

    Raises:
        InputError: as `read_json`, or it is something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        found = f"JSON of another form: {type(value).__name__}"
    elif missing := [name for name in names if name not in value]:
        found = f"no {', '.join(missing)}"
    else:
        return value
    raise InputError(
        path,
        found=found,
        expected="the file as this program wrote it",
        fix="remove the file, or restore it from a copy",
    )


def refuse_constant(name: str) -> float:
    """For `json.loads`, which accepts NaN and infinity although JSON has neither."""
    raise ValueError(f"{name} is not a number")


def check_folder(path: str | os.PathLike[str], where: str | None = None) -> None:
    """Checks that files can be written to a folder, which need not exist; leaves nothing behind.

    Args:
        path: an output, tried before the work that fills it.
        where: how to name it, such as `--out=scores`.

    Raises:
        InputError: an empty name, a file in its way, no permission, no space, a name the disk cannot take.
    """
    text = os.fspath(path)
    with _refused(text, where or text, "a folder to write to"):
        _try(Path(text))


def check_file(path: str | os.PathLike[str], where: str | None = None) -> None:
    """Checks that a file can be written or overwritten; its folders need not exist. See `check_folder`.

    Raises:
        InputError: as `check_folder`; or a folder, a device or a pipe of that name.
    """
    text = os.fspath(path)
    with _refused(text, where or text, "a file to write"):
        target = Path(text)
        if target.is_dir() or text.endswith((os.sep, os.altsep or os.sep)):
            raise ValueError("the name of a folder")
        # Among devices even a link must not be replaced: /dev/stdout may lead to a file.
        folder = target.parent.resolve()
        of_devices = folder == Path("/dev") or folder.is_relative_to("/proc")
        if of_devices or (target.exists() and not target.is_file()):
            raise ValueError("a device or a pipe, not a file")
        _try(target.parent, target.name)


@contextlib.contextmanager
def _refused(text: str, where: str, expected: str) -> Iterator[None]:
    """Turns what is wrong with an output into an `InputError`."""
    try:
        if not text.strip():
            raise ValueError("an empty name")
        if text.startswith("~"):
            raise ValueError("a ~ that the shell has left as it is: write $HOME, or ./~ if that is its name")
        yield
    except OSError as error:
        raise of_system(error, where) from error
    except ValueError as error:
        raise InputError(where, found=str(error), expected=expected, fix="choose another path") from error


def _try(folder: Path, name: str = "") -> None:
    """Writes to the deepest folder that exists, and checks the names that are missing below it."""
    existing, missing = folder.absolute(), [name] if name else []
    while not os.path.lexists(existing):
        missing.insert(0, existing.name)
        existing = existing.parent
    if not existing.is_dir():
        what = "a link that leads nowhere" if existing.is_symlink() else "not a folder"
        raise ValueError(f"{existing} is {what}")
    for path in (*(existing / part for part in missing), folder / name):
        with contextlib.suppress(FileNotFoundError):
            path.lstat()
    with (
        tempfile.TemporaryDirectory(prefix=".probe-", dir=existing) as probe,
        (Path(probe) / "file").open("wb") as stream,
    ):
        stream.write(bytes(4096))
        stream.flush()
        os.fsync(stream.fileno())


def cache_folder() -> Path:
    """The folder for files that can be made again: $XDG_CACHE_HOME/dsdenseunet, or ~/.cache/dsdenseunet.

    If it cannot be written (a container's user without a home), a folder of this process alone takes its
    place and is removed at its end.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with contextlib.suppress(InputError, RuntimeError):  # The latter: the home folder is unknown.
        # Relative ones are invalid by https://specifications.freedesktop.org/basedir-spec/latest/.
        folder = (given if given.is_absolute() else Path.home() / ".cache") / "dsdenseunet"
        check_folder(folder)
        return folder
    return Path(_passing_folder().name)


@functools.cache
def _passing_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dsdenseunet-")


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256, in hexadecimal digits, of a file's content or of the names and contents of a folder's files.

    A folder is that of a scan with a file for each slice: hidden files and folders in it play no part.
    """
    if not Path(path).is_dir():
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for member in _members(path):
        digest.update(os.fsencode(member.name) + f"\0{sha256(member)}\0".encode())
    return digest.hexdigest()


def size_and_time(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Bytes of a file and when it was last changed, in nanoseconds; of a folder, as `sha256` sees it.

    The sum of the sizes and the latest of the times are those of a folder's files.

    Raises:
        OSError: no such file or folder.
    """
    members = _members(path) if Path(path).is_dir() else [Path(path)]
    stats = [member.stat() for member in members]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


def _members(folder: str | os.PathLike[str]) -> list[Path]:
    with os.scandir(folder) as listing:
        names = sorted(entry.name for entry in listing if entry.is_file() and entry.name[0] != ".")
    return [Path(folder) / name for name in names]
