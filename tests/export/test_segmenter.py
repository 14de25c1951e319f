"""What the loader does before the network: images in the type that files are read in."""

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.data.scans import nifti
from dsdenseunet.export.segmenter import as_read
from dsdenseunet.tasks.channel import Channel

CT, MR, TWO = (
    (Channel("CT", "window", (-200.0, 250.0)),),
    (Channel("MR", "zscore"),),
    (Channel("T1", "zscore"), Channel("T2", "none")),
)


@pytest.mark.parametrize(
    ("channels", "values"),
    [
        *((kind, values) for kind in (CT, MR) for values in ([-1000, 0, 3000], [-1000.5, 0.5, 1.5])),
        (CT, [-40000.0, 0.0, 3000.0]),  # Padding that is less than int16 holds.
        *((MR, values) for values in ([-40000.0, 0.0, 1e5], [1e30, 0.0, -3.0], [0.25, 1000.0, 2.0])),
    ],
)
def test_images_are_as_a_file_of_them_is_read(tmp_path, channels, values):
    array = np.resize(np.array(values, np.float32), (2, 3, 4))
    nib.Nifti1Image(array.T, np.eye(4)).to_filename(tmp_path / "image.nii")
    read = nifti.read_image(tmp_path / "image.nii", channels=channels).array_DHW
    found = as_read(array, channels)
    assert found.dtype == read.dtype
    np.testing.assert_array_equal(found, read)


@pytest.mark.parametrize(
    ("image", "channels", "part"),
    [
        (np.zeros((4, 4)), CT, r"expected: \(D, H, W\)"),
        (np.zeros((4, 4, 4, 1)), CT, r"expected: \(D, H, W\)"),
        (np.zeros((4, 4, 4)), TWO, r"expected: \(D, H, W, 2 channels\)"),
        (np.zeros((4, 4, 4, 3)), TWO, r"expected: \(D, H, W, 2 channels\)"),
        (np.zeros((0, 4, 4)), CT, "shape"),
        (np.full((4, 4, 4), np.nan), CT, "NaN"),
        (np.full((4, 4, 4), np.inf), MR, "infinite"),
    ],
)
def test_images_of_another_form_are_refused(image, channels, part):
    with pytest.raises(ValueError, match=part):
        as_read(image, channels)
