"""Labels have one tolerance; an image that is no CT in Hounsfield units is never rounded or cut silently."""

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti

AFFINE = np.diag((0.8, 0.8, 2.5, 1))


def save(path, array):
    nib.save(nib.Nifti1Image(array, AFFINE, dtype=array.dtype), path)
    return path


def ct_with(values, dtype, count=1):
    """A thousand voxels of air and tissue, some of them replaced."""
    stored = np.tile(np.array([0, 40, 1000, 2000], dtype), 250).reshape(10, 10, 10)
    stored.flat[: count * len(values)] = np.tile(np.array(values, dtype), count)
    return stored


@pytest.mark.parametrize(
    ("value", "dtype"), [(1e9, np.float64), (2**31 - 1, np.int32), (65535, np.uint16), (2**40, np.uint64)]
)
def test_a_few_voxels_of_metal_are_cut_off_under_a_mark(tmp_path, value, dtype):
    volume = nifti.read_image(save(tmp_path / "v.nii", ct_with([value], dtype)))
    assert volume.array_DHW.max() == 32767
    assert [f"to {value:.6g}" in mark for mark in volume.grid.marks] == [True]
    assert nifti.read_image(save(tmp_path / "w.nii", ct_with([5], dtype))).grid.marks == ()


def test_padding_far_below_air_is_no_fault_however_much_it_is(tmp_path):
    """DICOM pads with -32768, to which the rescale intercept is added."""
    volume = nifti.read_image(save(tmp_path / "v.nii", ct_with([-33792], np.int32, 500)))
    assert (volume.array_DHW == -32768).sum() == 500
    assert "-33792" in volume.grid.marks[0]


@pytest.mark.parametrize(
    "stored",
    [
        ct_with([65535], np.uint16, 20),
        ct_with([-40000, -50000], np.int32, 20),
        ct_with([0.5], np.float32) / 2000,
        ct_with([0.5], np.float32) / 700 - 1,
        ct_with([0.5], np.float32) / 20.1,
        np.full((10, 10, 10), 0.5, np.float32),
    ],
    ids=["bright", "dark", "0..1", "unit variance", "0..100", "constant"],
)
def test_an_image_that_is_no_ct_is_refused_and_not_rounded(tmp_path, stored):
    path = save(tmp_path / "v.nii", stored)
    with pytest.raises(InputError, match="Hounsfield") as caught:
        nifti.read_image(path)
    assert caught.value.where == str(path)
    assert f"{stored.max():.6g}" in caught.value.found


def test_a_resampled_ct_has_fractions_and_is_read(tmp_path):
    stored = ct_with([0.5], np.float32) * np.float32(0.97) - 1024
    volume = nifti.read_image(save(tmp_path / "v.nii", stored))
    np.testing.assert_array_equal(volume.array_DHW, np.rint(stored).transpose(2, 1, 0))
    assert volume.grid.marks == ()


@pytest.mark.parametrize("error", [0, 1e-8, -1e-4, 9e-4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_next_to_whole_numbers_are_labels(tmp_path, error, dtype):
    whole = np.array([0, 1, 2, 0]).reshape(1, 2, 2)
    labels = nifti.read_labels(save(tmp_path / "l.nii", (whole + error).astype(dtype))).array_DHW
    np.testing.assert_array_equal(labels, whole.transpose(2, 1, 0))


@pytest.mark.parametrize("value", [0.998, 1.0011, 1.00200001, -0.0015, 2.4999])
def test_the_digits_of_what_is_no_label_are_shown(tmp_path, value):
    stored = np.array([0, 1, value, 0]).reshape(1, 2, 2)
    with pytest.raises(InputError, match="nearest neighbour") as caught:
        nifti.read_labels(save(tmp_path / "l.nii", stored))
    assert abs(float(caught.value.found.split()[-1]) - value) < 1e-5
    assert caught.value.found.split()[-1] not in ("0", "1", "2")
