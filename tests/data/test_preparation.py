import errno
import json
import os

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.lock import locked
from dsdenseunet.data import manifest, preparation
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.preparation import prepare
from dsdenseunet.data.preparation_report import report, table
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.layouts import Case, find_cases
from dsdenseunet.tasks.lits import TASK
from tests.data.cached import die_on_the_second, write_case


def statuses(rows):
    return [row.status for row in rows]


def leftovers(root):
    return [path for path in root.rglob("*") if "partial" in path.name]


def test_the_cache_holds_what_the_files_hold(tmp_path):
    image, labels = write_case(tmp_path / "data", 7)
    rows = prepare(find_cases(tmp_path / "data").used, tmp_path / "cache")
    case = Cache.open(tmp_path / "cache").case("volume-7")
    np.testing.assert_array_equal(case.image_DHW, image)
    np.testing.assert_array_equal(case.labels_DHW, labels)
    assert case.image_DHW.dtype == np.int16
    assert case.labels_DHW.dtype == np.uint8
    assert isinstance(case.image_DHW, np.memmap)
    assert not case.image_DHW.flags.writeable
    np.testing.assert_allclose(case.spacing_mm, (2.0, 0.8, 0.8), rtol=1e-6)
    counts = np.stack([np.bincount(plane.ravel(), minlength=3) for plane in labels])
    np.testing.assert_array_equal(case.slice_counts_DC, counts)
    assert case.label_counts == tuple(counts.sum(axis=0))

    record = rows[0].record
    source = tmp_path / "data" / "volume-7.nii"
    assert record.images == (
        manifest.Source(str(source), source.stat().st_size, source.stat().st_mtime_ns, files.sha256(source)),
    )
    assert record.sha256["labels"] == files.sha256(tmp_path / "cache/volume-7/labels.npy")
    assert not leftovers(tmp_path)


def test_a_second_run_does_nothing(tmp_path):
    for number in range(3):
        write_case(tmp_path / "data", number)
    cases = find_cases(tmp_path / "data").used
    assert statuses(prepare(cases, tmp_path / "cache")) == ["new"] * 3
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.*")}
    assert statuses(prepare(cases, tmp_path / "cache")) == ["current"] * 3
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.*")}
    assert {k: v for k, v in after.items() if k.name != ".lock"} == {
        k: v for k, v in before.items() if k.name != ".lock"
    }


def test_a_touched_source_is_current_a_changed_one_is_not(tmp_path):
    write_case(tmp_path / "data", 0)
    cases = find_cases(tmp_path / "data").used
    prepare(cases, tmp_path / "cache")
    opened = Cache.open(tmp_path / "cache")
    assert opened.changed_sources() == []
    os.utime(cases[0].image, (1, 1))
    assert opened.changed_sources() == [cases[0].image]
    assert statuses(prepare(cases, tmp_path / "cache")) == ["current"]
    assert Cache.open(tmp_path / "cache").changed_sources() == []

    image, _ = write_case(tmp_path / "data", 0, seed=99)  # Same size, other content.
    os.utime(cases[0].image, (2, 2))
    fingerprint = opened.fingerprint
    assert statuses(prepare(cases, tmp_path / "cache")) == ["new"]
    opened = Cache.open(tmp_path / "cache")
    np.testing.assert_array_equal(opened.case("volume-0").image_DHW, image)
    assert opened.fingerprint != fingerprint


def test_the_fingerprint_is_of_the_data_not_of_its_place(tmp_path):
    for place in ("a", "b"):
        write_case(tmp_path / place / "data", 0)
        prepare(find_cases(tmp_path / place / "data").used, tmp_path / place / "cache")
    assert Cache.open(tmp_path / "a/cache").fingerprint == Cache.open(tmp_path / "b/cache").fingerprint


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_case_is_named_and_the_rest_prepared(tmp_path, workers):
    data = tmp_path / "data"
    for number in range(6):
        write_case(data, number)
    (data / "volume-0.nii").write_bytes((data / "volume-0.nii").read_bytes()[:5000])
    (data / "segmentation-1.nii").unlink()
    nifti.write_new(data / "segmentation-2.nii", np.zeros((9, 40, 48), np.uint8), (1, 1, 1), "LPS")
    nifti.write_new(data / "segmentation-3.nii", np.full((10, 40, 48), 3, np.uint8), (1, 1, 1), "LPS")
    nan = np.full((10, 40, 48), np.nan, np.float32)
    nifti.write_new(data / "volume-4.nii", nan, (1, 1, 1), "LPS")
    write_case(data, 7)
    (data / "volume-7.nii").rename(data / "test-volume-7.nii")
    (data / "segmentation-7.nii").unlink()
    seen = []
    rows = prepare(find_cases(data).used, tmp_path / "cache", workers, on_row=seen.append)
    assert [(row.name, row.status) for row in rows] == [
        ("test-volume-7", "unlabelled"),
        *((f"volume-{number}", "failed") for number in range(5)),
        ("volume-5", "new"),
    ]
    assert sorted(row.name for row in seen) == sorted(row.name for row in rows)
    for row, name, words in zip(
        rows[1:6],
        ("volume-0.nii", "volume-1.nii", "segmentation-2.nii", "segmentation-3.nii", "volume-4.nii"),
        ("bytes", "without labels", "48 x 40 x 9", "label values 3", "NaN"),
    ):
        assert str(data / name) in row.error
        assert words in row.error
    assert Cache.open(tmp_path / "cache").names == ("volume-5",)
    assert not leftovers(tmp_path / "cache")
    assert not (tmp_path / "cache/volume-3").exists()

    # Put right, only what failed is read.
    for number in range(5):
        write_case(data, number)
    assert statuses(prepare(find_cases(data).used, tmp_path / "cache"))[1:] == ["new"] * 5 + ["current"]


def test_workers_write_the_same_cache(tmp_path):
    for number in range(3):
        write_case(tmp_path / "data", number, ending=".nii.gz")
    cases = find_cases(tmp_path / "data").used
    prepare(cases, tmp_path / "alone")
    assert statuses(prepare(cases, tmp_path / "together", workers=2)) == ["new"] * 3
    alone, together = ((tmp_path / name / "manifest.json").read_text() for name in ("alone", "together"))
    assert alone == together


def test_a_flipped_bit_is_rewritten_on_demand(tmp_path):
    write_case(tmp_path / "data", 0)
    cases = find_cases(tmp_path / "data").used
    prepare(cases, tmp_path / "cache")
    path = tmp_path / "cache/volume-0/labels.npy"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert statuses(prepare(cases, tmp_path / "cache")) == ["current"]
    assert statuses(prepare(cases, tmp_path / "cache", verify=True)) == ["new"]
    assert path.read_bytes() == good
    assert statuses(prepare(cases, tmp_path / "cache", verify=True)) == ["current"]


def test_an_interrupted_run_goes_on(tmp_path):
    for number in range(3):
        write_case(tmp_path / "data", number)
    cases = find_cases(tmp_path / "data").used

    def stop(row):
        if row.name == "volume-1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(cases, tmp_path / "cache", on_row=stop)
    assert Cache.open(tmp_path / "cache").names == ("volume-0", "volume-1")
    assert statuses(prepare(cases, tmp_path / "cache")) == ["current", "current", "new"]


def test_what_a_killed_run_left_is_cleared(tmp_path):
    write_case(tmp_path / "data", 0)
    (tmp_path / "cache" / "volume-0").mkdir(parents=True)
    for place in ("volume-0/.partial-abc-image.npy", ".partial-abc-manifest.json"):
        (tmp_path / "cache" / place).write_bytes(b"half")
    prepare(find_cases(tmp_path / "data").used, tmp_path / "cache")
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("fail_at", range(8))
def test_a_full_disk_at_any_write_loses_nothing(tmp_path, monkeypatch, fail_at):
    for number in range(2):
        write_case(tmp_path / "data", number)
    cases = find_cases(tmp_path / "data").used
    calls = iter(range(1000))
    fsync = os.fsync

    def full(handle):
        if next(calls) == fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left") as caught:
        prepare(cases, tmp_path / "cache")
    assert "free some space" in caught.value.fix
    assert not leftovers(tmp_path)
    done = fail_at // 4  # Three arrays and the manifest a case.
    assert statuses(prepare(cases, tmp_path / "cache")) == ["current"] * done + ["new"] * (2 - done)
    assert len(Cache.open(tmp_path / "cache").names) == 2


def test_a_folder_that_cannot_be_written(tmp_path):
    write_case(tmp_path / "data", 0)
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(InputError, match="may write to"):
            prepare(find_cases(tmp_path / "data").used, place)


def test_one_process_at_a_time(tmp_path):
    write_case(tmp_path / "data", 0)
    cases = find_cases(tmp_path / "data").used
    prepare(cases, tmp_path / "cache")
    with (
        locked(tmp_path / "cache", "trains"),
        pytest.raises(InputError, match=f"in use by process {os.getpid()} on"),
    ):
        prepare(cases, tmp_path / "cache")
    assert statuses(prepare(cases, tmp_path / "cache")) == ["current"]


def test_a_worker_that_dies_is_told_with_its_cases(tmp_path, monkeypatch):
    for number in range(4):
        write_case(tmp_path / "data", number)
    monkeypatch.setattr(preparation, "_prepare_case", die_on_the_second)
    rows = prepare(find_cases(tmp_path / "data").used, tmp_path / "cache", workers=2)
    assert statuses(rows) == ["new", "failed", "new", "new"]
    assert "--workers=1" in rows[1].error
    assert Cache.open(tmp_path / "cache").names == ("volume-0", "volume-2", "volume-3")


def test_a_source_that_changes_while_it_is_read(tmp_path, monkeypatch):
    write_case(tmp_path / "data", 0)
    read = nifti.read_image

    def meddle(paths, channels):
        volume = read(paths, channels=channels)
        os.utime(paths[0], (1, 1))
        return volume

    monkeypatch.setattr(nifti, "read_image", meddle)
    rows = prepare(find_cases(tmp_path / "data").used, tmp_path / "cache")
    assert "changed while it was read" in rows[0].error


@pytest.mark.parametrize("fault", [MemoryError("no room"), PermissionError(13, "no right"), KeyError("x")])
def test_a_fault_nobody_thought_of_fails_its_case_alone(tmp_path, monkeypatch, fault):
    for number in range(2):
        write_case(tmp_path / "data", number)
    read = nifti.read_image

    def fail(paths, channels):
        if paths[0].name == "volume-0.nii":
            raise fault
        return read(paths, channels=channels)

    monkeypatch.setattr(nifti, "read_image", fail)
    rows = prepare(find_cases(tmp_path / "data").used, tmp_path / "cache")
    assert statuses(rows) == ["failed", "new"]
    assert rows[0].error == f"{type(fault).__name__}: {fault}"


def test_a_source_that_is_gone(tmp_path):
    rows = prepare([Case("a", (tmp_path / "a.nii",), tmp_path / "b.nii")], tmp_path / "cache")
    assert "no such file" in rows[0].error


def test_cases_of_another_data_set_stay_and_are_named(tmp_path):
    write_case(tmp_path / "a", 0)
    write_case(tmp_path / "b", 1)
    prepare(find_cases(tmp_path / "a").used, tmp_path / "cache")
    rows = prepare(find_cases(tmp_path / "b").used, tmp_path / "cache")
    assert [(row.name, row.status) for row in rows] == [("volume-1", "new"), ("volume-0", "other")]
    assert "not in this data set: 1 case (volume-0)" in report(rows, TASK)
    assert Cache.open(tmp_path / "cache").names == ("volume-0", "volume-1")


def test_the_table_gives_millilitres(tmp_path):
    _, labels = write_case(tmp_path / "data", 0)
    (tmp_path / "data" / "test-volume-3.nii").write_bytes(b"never read")
    rows = prepare(find_cases(tmp_path / "data").used, tmp_path / "cache")
    lines = table(rows, TASK).splitlines()
    assert lines[0].startswith("case")
    assert lines[0].endswith("liver (mL)  tumour (mL)")
    assert lines[2].split() == ["test-volume-3", "unlabelled"]
    liver, tumour = ((labels >= least).sum() * 2.0 * 0.8 * 0.8 / 1000 for least in (1, 2))
    assert (
        lines[3].split() == f"volume-0 new 10 x 40 x 48 2.00 x 0.80 x 0.80 {liver:.1f} {tumour:.1f}".split()
    )
    assert lines[-1] == "1 unlabelled, 1 new"


def test_the_manifest_is_plain_json(tmp_path):
    write_case(tmp_path / "data", 0)
    prepare(find_cases(tmp_path / "data").used, tmp_path / "cache")
    written = json.loads((tmp_path / "cache/manifest.json").read_text())
    assert written["format_version"] == 1
    (entry,) = written["cases"]
    assert entry["name"] == "volume-0"
    assert entry["shape"] == [10, 40, 48]
    assert set(entry["images"][0]) == {"path", "size", "mtime_ns", "sha256"}
    assert set(entry) >= {"labels", "spacing_mm", "label_counts", "sha256"}


def test_what_was_assumed_and_cut_off_is_told_each_time(tmp_path):
    image, _ = write_case(tmp_path / "data", 7)
    path = tmp_path / "data" / "volume-7.nii"
    header = nib.load(path).header
    header.set_data_dtype(np.int32)
    header["qform_code"] = header["sform_code"] = 0
    metal = image.astype(np.int32)
    metal[0, 0, 0] = 60_000
    nifti.write_stored(path, header, metal.transpose(2, 1, 0))
    for status in ("new", "current"):
        rows = prepare(find_cases(tmp_path / "data").used, tmp_path / "cache")
        assert statuses(rows) == [status]
        told = report(rows, TASK)
        assert "volume-7: NOTE no orientation" in told
        assert "volume-7: NOTE 1 voxel beyond" in told
