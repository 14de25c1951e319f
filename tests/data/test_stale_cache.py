"""What the cache holds that the data set does not hold any more, or not so."""

import json
import shutil

import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.manifest import MANIFEST
from dsdenseunet.data.preparation import prepare
from dsdenseunet.data.preparation_report import report
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.tasks.lits import TASK
from tests.data.cached import make_cache, write_case


def again(root, **options):
    return prepare(find_cases(root / "data").used, root / "cache", **options)


def entries(cache):
    return {entry["name"]: entry for entry in json.loads((cache.root / MANIFEST).read_text())["cases"]}


def half_a_download(data):
    (data / "segmentation-1.nii").write_bytes(b"half a download")


def labels_gone(data):
    (data / "segmentation-1.nii").unlink()


def dead_link(data):
    (data / "volume-1.nii").unlink()
    (data / "volume-1.nii").symlink_to(data / "unmounted" / "volume-1.nii")


@pytest.mark.parametrize("fault", [half_a_download, labels_gone, dead_link])
def test_a_case_that_cannot_be_read_again_is_outdated_until_it_can(tmp_path, fault):
    cache = make_cache(tmp_path)
    shutil.copytree(tmp_path / "data", tmp_path / "sound")
    fault(tmp_path / "data")
    rows = again(tmp_path)
    assert [(row.status, row.outdated) for row in rows] == [
        ("current", False),
        ("failed", True),
        ("current", False),
    ]
    assert "outdated in the cache: 1 case (volume-1)" in report(rows, TASK)
    opened = Cache.open(cache.root)
    opened.check_current(["volume-0", "volume-2"])
    with pytest.raises(InputError, match=r"1 outdated case among those to use: volume-1 \(") as caught:
        opened.check_current(opened.names)
    assert "--prune" in caught.value.fix
    # Opening, and the fingerprint of the content, are as before: a run that resumes is told what is wrong.
    assert opened.fingerprint == cache.fingerprint

    shutil.rmtree(tmp_path / "data")
    shutil.copytree(tmp_path / "sound", tmp_path / "data")
    assert [row.status for row in again(tmp_path)] == ["current"] * 3
    Cache.open(cache.root).check_current(opened.names)


def test_a_test_case_that_lost_its_labels_is_outdated(tmp_path):
    write_case(tmp_path / "data", 1)
    for kind in ("volume", "segmentation"):
        (tmp_path / f"data/{kind}-1.nii").rename(tmp_path / f"data/test-{kind}-1.nii")
    again(tmp_path)
    (tmp_path / "data/test-segmentation-1.nii").unlink()
    (row,) = again(tmp_path)
    assert (row.status, row.outdated) == ("unlabelled", True)


def test_nothing_goes_without_the_flag_and_only_what_is_stale_goes_with_it(tmp_path):
    cache = make_cache(tmp_path, cases=4)
    for name in ("volume-2.nii", "segmentation-2.nii"):
        (tmp_path / "data" / name).unlink()
    half_a_download(tmp_path / "data")
    (cache.root / "volume-2" / "notes.txt").write_text("mine")
    assert [row.status for row in again(tmp_path)] == ["current", "failed", "current", "other"]
    assert set(entries(cache)) == {f"volume-{number}" for number in range(4)}
    rows = again(tmp_path, prune=True)
    assert [(row.name, row.status) for row in rows] == [
        ("volume-0", "current"),
        ("volume-1", "failed"),
        ("volume-3", "current"),
        ("volume-1", "pruned"),
        ("volume-2", "pruned"),
    ]
    assert "taken out of the cache: 2 cases (volume-1, volume-2)" in report(rows, TASK)
    assert Cache.open(cache.root).names == ("volume-0", "volume-3")
    assert not (cache.root / "volume-1").exists()
    # What prepare did not put there is not its to remove.
    assert [path.name for path in (cache.root / "volume-2").iterdir()] == ["notes.txt"]


def test_sources_that_changed_are_told_for_the_cases_asked_for(tmp_path):
    cache = make_cache(tmp_path, cases=2)
    write_case(tmp_path / "data", 1, seed=5, shape=(9, 40, 48))
    changed = [tmp_path / "data" / name for name in ("volume-1.nii", "segmentation-1.nii")]
    assert cache.changed_sources() == changed
    assert cache.changed_sources(["volume-0"]) == []


def test_a_damaged_entry_is_prepared_anew_and_another_data_sets_is_named(tmp_path):
    cache = make_cache(tmp_path, cases=3)
    manifest = json.loads((cache.root / MANIFEST).read_text())
    del manifest["cases"][0]["shape"]
    manifest["cases"][1]["name"] = "elsewhere"
    manifest["cases"][1]["sha256"] = 7
    manifest["cases"].append(None)
    (cache.root / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="damaged manifest") as caught:
        Cache.open(cache.root)
    assert "experiments.prepare" in caught.value.fix
    rows = again(tmp_path)
    assert [(row.name, row.status) for row in rows] == [
        ("volume-0", "new"),
        ("volume-1", "new"),
        ("volume-2", "current"),
        ("elsewhere", "lost"),
        ("None", "lost"),
    ]
    assert "damaged" in rows[3].error
    # The advice works: the cache can be opened again.
    assert Cache.open(cache.root).names == cache.names


@pytest.mark.parametrize("change", [{"axes": "RAS"}, {"axes": ""}, {"spacing_mm": [2.0, 0.8, 0.9]}])
def test_what_another_version_read_otherwise_is_read_anew(tmp_path, change):
    cache = make_cache(tmp_path, cases=2)
    manifest = json.loads((cache.root / MANIFEST).read_text())
    manifest["cases"][1].update(change)
    (cache.root / MANIFEST).write_text(json.dumps(manifest))
    assert [row.status for row in again(tmp_path)] == ["current", "new"]
    assert Cache.open(cache.root).fingerprint == cache.fingerprint


def test_marks_of_a_header_are_kept_and_told(tmp_path):
    write_case(tmp_path / "data", 0)
    for path in (tmp_path / "data").iterdir():
        raw = bytearray(path.read_bytes())
        raw[252:256] = bytes(4)  # qform_code and sform_code: nothing says where the axes point
        path.write_bytes(raw)
    marks = nifti.read_grid(tmp_path / "data/volume-0.nii").marks
    assert marks
    for _ in range(2):
        rows = again(tmp_path)
        assert rows[0].record.marks == marks
        assert all(mark in report(rows, TASK) for mark in marks)
    assert entries(Cache.open(tmp_path / "cache"))["volume-0"]["marks"] == list(marks)
