import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.samples.blob import Blob
from dsdenseunet.data.samples.phantom import make_phantom, write_phantoms
from dsdenseunet.data.samples.scanner import ORIENTATIONS
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.layouts import find_cases

SMALL = (48, 64, 64)


def test_seed_and_index_fix_a_phantom():
    first, again = make_phantom(3, 1, SMALL), make_phantom(3, 1, SMALL)
    np.testing.assert_array_equal(first.image_DHW, again.image_DHW)
    np.testing.assert_array_equal(first.labels_DHW, again.labels_DHW)
    assert (first.spacing_mm, first.axcodes) == (again.spacing_mm, again.axcodes)
    for other in (make_phantom(4, 1, SMALL), make_phantom(3, 2, SMALL)):
        assert first.image_DHW.shape != other.image_DHW.shape or (first.image_DHW != other.image_DHW).any()


def test_a_set_has_the_spread_that_lits_has():
    phantoms = [make_phantom(0, index, SMALL) for index in range(48)]
    assert {phantom.axcodes for phantom in phantoms} == set(ORIENTATIONS)
    for index, phantom in enumerate(phantoms):
        between, row, column = phantom.spacing_mm
        assert 0.55 <= row == column <= 1.0
        assert 0.45 <= between <= 6.0
        assert phantom.image_DHW.dtype == np.int16
        assert phantom.labels_DHW.dtype == np.uint8
        assert phantom.image_DHW.shape == phantom.labels_DHW.shape
        assert phantom.image_DHW.shape[1:] == SMALL[1:]
        assert phantom.image_DHW.min() >= -1024
        counts = np.bincount(phantom.labels_DHW.ravel(), minlength=3)
        assert len(counts) == 3
        assert counts[1] > 0.01 * counts.sum()
        assert (counts[2] == 0) == (index % 5 == 4)
    assert len({phantom.image_DHW.shape[0] for phantom in phantoms}) > 5


def test_liver_and_tumour_look_as_they_should():
    phantom = make_phantom(0, 0, (96, 128, 128), (1.0, 0.8, 0.8))
    image, labels = phantom.image_DHW, phantom.labels_DHW
    # Away from the rim, where voxels are mixed.
    inside = {value: ndimage.binary_erosion(labels == value, iterations=2) for value in (1, 2)}
    liver, tumour = (image[mask].mean() for mask in inside.values())
    assert 60 < liver < 140
    assert 15 < abs(liver - tumour) < 80
    assert 5 < image[inside[1]].std() < 40
    assert (image < -900).mean() > 0.2  # air around the body
    assert (image > 200).any()  # bone
    # The liver is on the right (W grows to the right), below the lungs, in one piece with its tumours.
    assert ndimage.center_of_mass(labels > 0)[2] > 64
    parts, _ = ndimage.label(labels > 0)
    assert np.bincount(parts.ravel())[1:].max() > 0.95 * (labels > 0).sum()
    assert set(np.unique(labels[ndimage.binary_dilation(labels == 2)])) <= {0, 1, 2}


def test_the_liver_cannot_be_told_by_its_value_alone():
    phantom = make_phantom(0, 1, (96, 128, 128), (1.0, 0.8, 0.8))
    smooth = ndimage.gaussian_filter(phantom.image_DHW.astype(np.float32), 1)
    liver = phantom.labels_DHW > 0
    low, high = np.percentile(smooth[liver], (5, 95))
    guess = (smooth > low) & (smooth < high)
    assert 2 * (guess & liver).sum() / (guess.sum() + liver.sum()) < 0.9


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (4.0, 0.8, 0.8)])
def test_partial_volume_adds_up_to_the_ellipsoids_volume(spacing_mm):
    radii = np.array([12.0, 9.0, 7.0])
    blob = Blob(np.array([0.3, -0.2, 0.4]), radii, 100.0, np.zeros((0, 3, 2)), 0.0)
    mm = [(np.arange(-20, 20) + 0.5) * side for side in spacing_mm]
    box, share = blob.coverage(mm, spacing_mm)
    assert share.min() == 0
    assert share.max() == 1
    assert ((share > 0) & (share < 1)).any()
    volume = float(share.sum()) * np.prod(spacing_mm)
    assert volume == pytest.approx(4 / 3 * np.pi * radii.prod(), rel=0.05)
    assert blob.coverage([mm[0] + 500, mm[1], mm[2]], spacing_mm) is None
    assert all(isinstance(side, slice) for side in box)


@pytest.mark.parametrize("compressed", [False, True])
def test_files_are_lits(tmp_path, compressed):
    seen = []
    paths = write_phantoms(tmp_path, 3, seed=1, size=(32, 32, 40), compressed=compressed, on_case=seen.append)
    assert seen == paths
    cases = find_cases(tmp_path).used
    assert [case.name for case in cases] == ["volume-0", "volume-1", "volume-2"]
    for index, case in enumerate(cases):
        phantom = make_phantom(1, index, (32, 32, 40))
        image = nifti.read_image(case.image)
        np.testing.assert_array_equal(image.array_DHW, phantom.image_DHW)
        np.testing.assert_allclose(image.spacing_mm, phantom.spacing_mm, rtol=1e-6)
        labels = nifti.read_labels(case.labels, like=image.grid)
        np.testing.assert_array_equal(labels.array_DHW, phantom.labels_DHW)
        assert "".join(nib.aff2axcodes(nib.load(case.labels).affine)) == phantom.axcodes


def test_given_spacing_gives_the_very_size():
    phantom = make_phantom(0, 0, (33, 40, 50), (2.5, 0.7, 0.9))
    assert phantom.image_DHW.shape == (33, 40, 50)
    assert phantom.spacing_mm == (2.5, 0.7, 0.9)


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="at least 32"):
        make_phantom(0, 0, (31, 64, 64))
    with pytest.raises(InputError, match="at least 1"):
        write_phantoms(tmp_path, 0, 0)


@pytest.mark.parametrize("name", ["volume-0.nii", "segmentation-0.nii", "volume-0.nii.gz", "volume-1.NII"])
def test_a_file_of_a_phantoms_name_is_never_overwritten(tmp_path, name):
    (tmp_path / name).write_bytes(b"a patient's scan")
    with pytest.raises(InputError, match=name):
        write_phantoms(tmp_path, 2, 0, (32, 32, 32))
    assert (tmp_path / name).read_bytes() == b"a patient's scan"


def test_the_same_phantoms_may_be_written_again(tmp_path):
    for _ in range(2):
        write_phantoms(tmp_path, 1, 0, (32, 32, 32))
    with pytest.raises(InputError, match="choose another"):
        write_phantoms(tmp_path, 1, 1, (32, 32, 32))
