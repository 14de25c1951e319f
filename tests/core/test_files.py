"""Outputs are whole or absent, tried before the work, and told of by their own names."""

import errno
import os
import resource
from pathlib import Path

import pytest

from dsdenseunet.core import errors, files
from dsdenseunet.core.errors import InputError


def test_a_name_of_other_bytes_is_written_and_read_back(tmp_path):
    name = os.fsdecode(b"M\xfcller")
    files.write_text(tmp_path / "a.csv", f"{name},é\n")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "M\\udcfcller,é\n"
    files.write_json(tmp_path / f"{name}.json", {"path": name})
    assert files.read_json(tmp_path / f"{name}.json") == {"path": name}


def test_the_longest_name_can_be_written(tmp_path):
    for name in ("n" * 248 + ".nii.gz", "ü" * 124 + ".nii.gz"):
        with files.atomic_path(tmp_path / name) as temporary:
            assert temporary.name.endswith(".nii.gz")
        assert (tmp_path / name).exists()


@pytest.mark.parametrize("moment", ["opening", "writing", "renaming"])
def test_what_the_disk_refuses_is_told_of_the_file_itself(tmp_path, moment):
    target = tmp_path / "result.json"
    if moment == "opening":
        target = tmp_path / "file" / "result.json"
        (tmp_path / "file").touch()
    elif moment == "renaming":
        (target / "below").mkdir(parents=True)
    # Room for a few bytes only: writing more gives EFBIG, as Python ignores the signal.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if moment == "writing":
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        with pytest.raises(OSError) as refused:
            files.write_text(target, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    where = str(target.parent if moment == "opening" else target)
    assert errors.of_system(refused.value).where == where
    assert not list(tmp_path.glob(".partial-*"))


def test_every_refusal_of_the_system_says_what_to_do():
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ESTALE, None):
        error = OSError(number, "words", "file") if number else OSError("only words")
        told = errors.of_system(error)
        assert all((told.found, told.expected, told.fix))
        assert told.where == ("file" if number else "the operating system")
        assert "words" in told.found
    assert errors.of_system(OSError(errno.EACCES, "words", "file"), "--out=file").where == "--out=file"


def test_devices_and_links_to_them_are_no_files(tmp_path):
    (tmp_path / "link").symlink_to("/dev/null")
    for path in ("/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", tmp_path / "link"):
        with pytest.raises(InputError, match="a device or a pipe"):
            files.check_file(path)


def test_a_link_to_a_file_or_folder_can_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    files.check_folder(tmp_path / "link" / "new" / "newer")
    files.check_file(tmp_path / "link" / "file")
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize(
    "variables",
    [{}, {"XDG_CACHE_HOME": "relative"}, {"HOME": "/proc/no"}, {"XDG_CACHE_HOME": "/proc/no"}],
    ids=str,
)
def test_without_a_home_what_is_cached_goes_with_the_process(monkeypatch, tmp_path, variables):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if "HOME" not in variables:
        monkeypatch.setattr(Path, "home", nobody)
    folder = files.cache_folder()
    files.write_json(folder / "plans" / "a.json", {})
    assert folder == files.cache_folder()
    assert files.read_json(folder / "plans" / "a.json") == {}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / "dsdenseunet"


@pytest.mark.parametrize(
    ("content", "found"), [(None, "no such file"), (b"\xff", "not UTF-8"), (b"{", "not JSON")]
)
def test_json_that_cannot_be_read_is_named(tmp_path, content, found):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=found):
        files.read_json(path)


def test_numbers_that_are_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", {"score": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [("[]", "list"), ("3", "int"), ("null", "NoneType"), ("{}", "no rows"), ("{", "not JSON")],
)
def test_a_record_of_another_form_is_named(tmp_path, text, found):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(InputError, match=found) as error:
        files.read_object(path, "rows")
    assert error.value.where == str(path)
    path.write_text('{"rows": [], "more": 1}')
    assert files.read_object(path, "rows") == {"rows": [], "more": 1}


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_folder_is_whole_or_absent(tmp_path, exists):
    target = tmp_path / "folder"
    if exists:
        target.mkdir()
    with pytest.raises(ZeroDivisionError), files.new_folder(target) as folder:
        (folder / "file").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.rglob("*")) == [target] * exists
    files.check_new_folder(target)
    with files.new_folder(target) as folder:
        (folder / "file").write_text("whole")
    assert sorted(tmp_path.rglob("*")) == [target, target / "file"]
    like = tmp_path / "like"
    like.mkdir()
    assert target.stat().st_mode == like.stat().st_mode
    for taken, found in ((target, "something in it"), (target / "file", "a file")):
        with pytest.raises(InputError, match=found):
            files.check_new_folder(taken)
