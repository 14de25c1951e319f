import hashlib
import subprocess
import zipfile

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.samples import sample
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.layouts import find_cases


@pytest.fixture
def stored():
    """Arrays in the archive's own order: (left, back, head)."""
    rng = np.random.default_rng(0)
    image = rng.normal(0, 300, (128, 128, 128)).astype(np.float32)
    labels = rng.integers(0, 3, (128, 128, 128)).astype(np.uint16)
    return image, labels


@pytest.fixture
def wheel(tmp_path, stored, monkeypatch):
    """An archive built like the real one, taken for it."""
    path = tmp_path / "fake.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for (member, dtype), array in zip(sample._MEMBERS.values(), stored):
            archive.writestr(member, bytes(1024) + array.astype(dtype).tobytes())
    monkeypatch.setattr(sample, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_arrays_become_canonical(wheel, stored):
    image_DHW, labels_DHW = sample.read_wheel(wheel)
    assert image_DHW.dtype == np.int16
    assert labels_DHW.dtype == np.uint8
    # (left, back, head) to (head, front, right): stored [1, 2, 3] is at [3, -1 - 2, -1 - 1].
    assert image_DHW[3, 125, 126] == round(float(stored[0][1, 2, 3]))
    assert labels_DHW[3, 125, 126] == stored[1][1, 2, 3]


def test_slabs_are_cases_that_touch_but_do_not_overlap(wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "_download", lambda folder: wheel)
    fetched = sample.fetch_sample(tmp_path / "out")
    image_DHW, labels_DHW = sample.read_wheel(wheel)
    assert [case.name for case in find_cases(fetched.development).used] == [
        fetched.training,
        fetched.validation,
    ]
    (test,) = find_cases(fetched.held_out).used
    assert test.name == fetched.test
    cases = {case.name: case for case in find_cases(tmp_path / "out").used}
    volumes = [
        nifti.read_image(cases[name].image) for name in (fetched.training, fetched.validation, test.name)
    ]
    labels = [nifti.read_labels(cases[name].labels).array_DHW for name in sorted(cases)]
    np.testing.assert_array_equal(np.concatenate([volume.array_DHW for volume in volumes]), image_DHW)
    np.testing.assert_array_equal(np.concatenate(labels), labels_DHW)
    assert [len(volume.array_DHW) for volume in volumes] == [64, 16, 48]
    assert volumes[0].spacing_mm == (1.0, 1.0, 1.0)

    def never(folder):
        raise AssertionError("downloaded again")

    monkeypatch.setattr(sample, "_download", never)
    assert sample.fetch_sample(tmp_path / "out") == fetched


def test_another_archive_is_refused(wheel):
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(InputError, match="SHA-256"):
        sample.read_wheel(wheel)


def test_without_the_package_index_the_error_says_what_to_do(tmp_path, monkeypatch):
    def refuse(command, **kwargs):
        assert "--no-deps" in command
        assert command[-1] == sample.PACKAGE
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found\n")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(InputError, match="No matching distribution") as caught:
        sample.fetch_sample(tmp_path / "out")
    assert "make_phantoms" in caught.value.fix
    assert not (tmp_path / "out").exists()
