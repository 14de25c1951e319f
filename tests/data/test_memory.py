"""A volume for which the machine is too small is refused before memory is taken, with the numbers."""

import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data import memory
from dsdenseunet.data.doctor import voxel_checks
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.nifti_file import read_header

SHAPE = (20, 30, 400)


@pytest.fixture
def path(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4)), tmp_path / "v.nii.gz")
    return tmp_path / "v.nii.gz"


@pytest.mark.parametrize(
    ("read", "bytes_per_voxel"),
    [
        (nifti.read_image, 3),
        (lambda path: nifti.read_image(path, bytes_per_voxel=6), 6),
        (nifti.read_labels, 1),
        (lambda path: voxel_checks.read_voxels(read_header(path)), 16),
    ],
)
def test_need_and_memory_are_compared_and_told(path, monkeypatch, read, bytes_per_voxel):
    needed = 20 * 30 * 400 * bytes_per_voxel
    monkeypatch.setattr(memory, "machine_bytes", lambda: needed)
    read(path)
    monkeypatch.setattr(memory, "machine_bytes", lambda: needed - 1)
    tracemalloc.start()
    with pytest.raises(InputError, match="20 x 30 x 400 voxels") as caught:
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 20 * 30 * 400
    tracemalloc.stop()
    assert caught.value.where == str(path)
    assert f"{bytes_per_voxel} bytes a voxel" in caught.value.found
    assert "this machine" in caught.value.expected


def test_a_container_has_less_than_its_machine(tmp_path, monkeypatch):
    whole = memory.machine_bytes()
    assert whole > 2**28
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (str(limit), str(tmp_path / "absent")))
    limit.write_text("max\n")
    assert memory.machine_bytes() >= whole
    limit.write_text("1000000\n")
    assert memory.machine_bytes() == 1_000_000
