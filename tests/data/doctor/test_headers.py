"""The doctor survives any header, and says of it what the reader says."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.doctor import repair
from dsdenseunet.data.doctor.case_checks import examine_case
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.layouts import Case

AFFINE = np.array([[-0.8, 0, 0, 11], [0, -0.7, 0, -7], [0, 0, 2.5, 3], [0, 0, 0, 1]])
HEADER = 348


def case_bytes():
    """An image and its labels of 4 x 4 x 4 voxels: air, a body with a liver, a tumour."""
    image = np.full((4, 4, 4), -1000, np.int16)
    image[1:, 1:, 1:] = 60
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    labels[2, 2, 2] = 2
    whole = []
    for array in (image, labels):
        header = nib.Nifti1Header()
        header.set_data_shape(array.shape)
        header.set_data_dtype(array.dtype)
        header["vox_offset"] = HEADER + 4
        header.set_sform(AFFINE, 1)
        header.set_qform(AFFINE, 1)
        whole.append(header.binaryblock + bytes(4) + array.tobytes(order="F"))
    return whole


WHOLE = case_bytes()


def examine(folder, image, labels):
    case = Case("volume-1", (folder / "data/volume-1.nii",), folder / "data/segmentation-1.nii")
    case.image.parent.mkdir(exist_ok=True)
    case.image.write_bytes(image)
    case.labels.write_bytes(labels)
    examined = examine_case(case)
    found = {finding.path: finding for finding in examined.findings if finding.check == "unreadable"}
    try:
        grid = nifti.read_grid(case.image)
    except InputError as error:
        assert found[case.image].found == error.found
    else:
        assert case.image not in found
        said = {finding.found for finding in examined.findings if finding.path == case.image}
        assert set(grid.marks) <= said
    if examined.plan is not None:
        try:
            repair.repair_case(case, examined.plan, folder / "data", folder / "out")
        except InputError as error:
            assert examined.findings, error


def edited(data, edits):
    data = bytearray(data)
    for place, value in edits:
        data[place] = value
    return bytes(data)


edits = st.lists(st.tuples(st.integers(0, HEADER + 3), st.integers(0, 255)), max_size=10)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(of_image=edits, of_labels=edits)
def test_any_header_ends_in_findings_that_agree_with_the_reader(tmp_path, of_image, of_labels):
    examine(tmp_path, edited(WHOLE[0], of_image), edited(WHOLE[1], of_labels))


@pytest.mark.long
def test_a_hundred_thousand_headers(tmp_path):
    """Bytes that matter most often: dimensions, voxel sizes, codes, quaternion, sform."""
    rng = np.random.default_rng(0)
    places = np.r_[40:56, 70:74, 76:124, 252:328]
    interesting = np.array([0, 1, 2, 63, 64, 127, 128, 191, 192, 255])
    for _ in range(100_000):
        both = []
        for data in WHOLE:
            count = int(rng.integers(7))
            at = rng.choice(places if rng.random() < 0.8 else HEADER, count)
            values = rng.choice(interesting, count) if rng.random() < 0.7 else rng.integers(0, 256, count)
            both.append(edited(data, zip(at.tolist(), values.tolist(), strict=True)))
        examine(tmp_path, *both)
