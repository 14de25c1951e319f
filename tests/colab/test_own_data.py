"""One's own scans: folders, archives, Google Drive."""

import shutil
import sys
import types

import pytest

from colab import own_data
from dsdenseunet.core.errors import InputError


@pytest.fixture
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "volume-0.nii").write_bytes(b"0")
    return tmp_path


def test_a_folder_is_taken_as_it_is(here):
    assert own_data.folder("scans") == "scans"


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_an_archive_of_a_folder_is_that_folder(here, kind):
    packed = shutil.make_archive("packed", kind, ".", "scans")
    (here / "own" / "data").mkdir(parents=True)
    (here / "own" / "data" / "volume-9.nii").write_bytes(b"of an earlier archive")
    assert own_data.folder(packed) == "own/data/scans"
    assert not (here / "own" / "data" / "volume-9.nii").exists()
    assert (here / "own" / "data" / "scans" / "volume-0.nii").is_file()


def test_an_archive_of_files_is_the_folder_that_they_are_in(here):
    assert own_data.folder(shutil.make_archive("packed", "zip", "scans"), "there") == "there"
    assert (here / "there" / "volume-0.nii").is_file()


@pytest.mark.parametrize("name", ["absent", "scans/volume-0.nii"])
def test_what_is_neither_is_refused(here, name):
    with pytest.raises(InputError, match=name):
        own_data.folder(name)


def test_the_drive_is_connected_where_it_is_not(here, monkeypatch):
    def mount(path):
        (here / "drive" / "MyDrive" / "scans").mkdir(parents=True)
        mounted.append(path)

    mounted: list[str] = []
    module = types.ModuleType("google.colab")
    module.drive = types.SimpleNamespace(mount=mount)
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(own_data, "_DRIVE", here / "drive")
    wanted = str(here / "drive" / "MyDrive" / "scans")
    assert own_data.folder(wanted) == own_data.folder(wanted) == wanted
    assert mounted == [str(here / "drive")]
