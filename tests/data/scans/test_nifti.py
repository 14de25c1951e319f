import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.samples.scanner import ORIENTATIONS
from dsdenseunet.data.scans import nifti
from dsdenseunet.reporting.slices import for_display


def save(path, array, affine=None, **header_fields):
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    for field, value in header_fields.items():
        image.header[field] = value
    nib.save(image, path)
    return path


def affine_of(axcodes, spacing=(0.7, 0.8, 2.5), origin=(11.0, -7.0, 3.0)):
    """Columns point where the codes say; spacing is the file's own order."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, code in enumerate(axcodes):
        world = "RAS".find(code) if code in "RAS" else "LPI".find(code)
        affine[world, axis] = spacing[axis] * (1 if code in "RAS" else -1)
    affine[:3, 3] = origin
    return affine


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_round_trip_over_every_axis_order_and_flip(tmp_path, axcodes):
    assert len(set(ORIENTATIONS)) == 48
    stored = np.random.default_rng(0).integers(-1000, 1000, (3, 4, 5)).astype(np.int16)
    path = save(tmp_path / "image.nii", stored, affine_of(axcodes), descrip=b"scanner 7")
    volume = nifti.read_image(path)
    canonical = nib.as_closest_canonical(nib.load(path))
    np.testing.assert_array_equal(volume.array_DHW, np.asarray(canonical.dataobj).transpose(2, 1, 0))
    np.testing.assert_allclose(volume.spacing_mm, canonical.header.get_zooms()[::-1], rtol=1e-6)
    assert volume.grid.shape_DHW == volume.array_DHW.shape
    assert volume.array_DHW.flags.c_contiguous

    labels_DHW = (volume.array_DHW > 0).astype(np.uint8) * 2
    out = tmp_path / "labels.nii.gz"
    nifti.write_labels(out, labels_DHW, volume.grid)
    written, source = nib.load(out), nib.load(path)
    np.testing.assert_array_equal(np.asarray(written.dataobj), (stored > 0) * 2)
    np.testing.assert_array_equal(written.affine, source.affine)
    changed = {"datatype", "bitpix", "vox_offset", "scl_slope", "scl_inter", "cal_max", "cal_min", "magic"}
    for field in set(source.header.keys()) - changed:
        np.testing.assert_array_equal(written.header[field], source.header[field], err_msg=field)
    np.testing.assert_array_equal(nifti.read_labels(out).array_DHW, labels_DHW)


def test_canonical_axes_grow_to_head_front_and_right(tmp_path):
    stored = np.zeros((2, 3, 4), np.int16)
    stored[0, 0, 3] = 7  # LPS: most right, most front, most head.
    volume = nifti.read_image(save(tmp_path / "v.nii", stored, affine_of("LPS")))
    assert volume.array_DHW.shape == (4, 3, 2)
    assert volume.array_DHW[3, 2, 1] == 7
    # A radiologist sees front up and the patient's right on the left.
    assert for_display(volume.array_DHW[3])[0, 0] == 7


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_write_new_points_the_axes_as_asked(tmp_path, axcodes):
    array_DHW = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nifti.write_new(tmp_path / "v.nii", array_DHW, (2.0, 0.75, 0.5), axcodes)
    assert "".join(nib.aff2axcodes(nib.load(tmp_path / "v.nii").affine)) == axcodes
    volume = nifti.read_image(tmp_path / "v.nii")
    np.testing.assert_array_equal(volume.array_DHW, array_DHW)
    np.testing.assert_allclose(volume.spacing_mm, (2.0, 0.75, 0.5))


@pytest.mark.parametrize("axcodes", ["RRS", "RA", "XYZ", "RASL"])
def test_write_new_refuses_what_is_no_orientation(tmp_path, axcodes):
    with pytest.raises(ValueError, match="no orientation"):
        nifti.write_new(tmp_path / "v.nii", np.zeros((2, 2, 2), np.int16), (1, 1, 1), axcodes)


def test_oblique_affine_goes_to_the_closest_axes(tmp_path):
    angle = np.deg2rad(20)
    affine = affine_of("LPS")
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine[:3, :3] = turn @ affine[:3, :3]
    volume = nifti.read_image(save(tmp_path / "v.nii", np.zeros((2, 3, 4), np.int16), affine))
    assert volume.array_DHW.shape == (4, 3, 2)
    np.testing.assert_allclose(volume.spacing_mm, (2.5, 0.8, 0.7), rtol=1e-6)


@pytest.mark.parametrize(
    ("stored", "slope", "inter", "expected"),
    [
        (np.array([0, 1024, 4000], np.uint16), 1, -1024, [-1024, 0, 2976]),
        (np.array([0, 1, 255], np.uint8), float("nan"), 0, [0, 1, 255]),
        (np.array([-128, 0, 127], np.int8), 0, 55, [-128, 0, 127]),
        (np.array([-5.5, 0.49, 99.6], np.float32), 1, 0, [-6, 0, 100]),
        (np.array([0, 32767, 3], np.uint32), 1, 0, [0, 32767, 3]),
        (np.array([10, 20, 30], np.int16), 0.5, 1, [6, 11, 16]),
    ],
)
def test_stored_values_become_rounded_saturated_hu(tmp_path, stored, slope, inter, expected):
    header = nib.Nifti1Header()
    header.set_data_dtype(stored.dtype)
    header.set_data_shape((3, 1, 1))
    header["vox_offset"], header["scl_slope"], header["scl_inter"] = 352, slope, inter
    header["pixdim"][1:4] = 1
    (tmp_path / "v.nii").write_bytes(header.binaryblock + bytes(4) + stored.tobytes())
    volume = nifti.read_image(tmp_path / "v.nii")
    assert volume.array_DHW.dtype == np.int16
    # Without an orientation of its own the first axis points left (nibabel's convention).
    assert volume.array_DHW.ravel().tolist() == expected[::-1]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_reads_both_versions_big_endian_too(tmp_path, kind, ending):
    array = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    image = kind(array, np.eye(4), header=kind.header_class(endianness=">"))
    image.set_data_dtype(np.dtype(">i2"))
    nib.save(image, tmp_path / f"v{ending}")
    volume = nifti.read_image(tmp_path / f"v{ending}")
    np.testing.assert_array_equal(volume.array_DHW, array.transpose(2, 1, 0))
    nifti.write_labels(tmp_path / "l.nii", (volume.array_DHW % 3).astype(np.uint8), volume.grid)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "l.nii").dataobj), array % 3)


def test_trailing_dimensions_of_one_are_a_3d_volume(tmp_path):
    path = save(tmp_path / "v.nii", np.zeros((2, 3, 4, 1), np.int16))
    volume = nifti.read_image(path)
    assert volume.array_DHW.shape == (4, 3, 2)
    nifti.write_labels(tmp_path / "l.nii", np.zeros((4, 3, 2), np.uint8), volume.grid)
    assert nib.load(tmp_path / "l.nii").shape == (2, 3, 4, 1)


def test_header_extensions_are_stepped_over(tmp_path):
    image = nib.Nifti1Image(np.full((2, 2, 2), 9, np.int16), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 1000))
    nib.save(image, tmp_path / "v.nii.gz")
    assert (nifti.read_image(tmp_path / "v.nii.gz").array_DHW == 9).all()


@pytest.mark.parametrize("fault", ["nan", "zero", "flat", "sheared", "huge"])
def test_a_nonsense_sform_gives_way_to_the_voxel_size(tmp_path, fault):
    path = save(tmp_path / "v.nii", np.zeros((2, 3, 4), np.int16))
    image = nib.load(path)
    header = image.header.copy()
    header["pixdim"][1:4] = (0.5, 0.6, 3.0)
    header["qform_code"] = 0
    header["srow_x"][0] = {"nan": np.nan, "huge": 1e30}.get(fault, 1)
    if fault == "zero":
        header["srow_x"] = header["srow_y"] = header["srow_z"] = 0
    if fault == "flat":
        header["srow_y"] = header["srow_x"]
    if fault == "sheared":
        header["srow_x"], header["srow_y"] = (1, 1, 0, 0), (0, 0.01, 0, 0)
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    volume = nifti.read_image(path)
    np.testing.assert_allclose(volume.spacing_mm, (3.0, 0.6, 0.5), rtol=1e-6)
    assert "assumed" in volume.grid.marks[0]
    nifti.write_labels(tmp_path / "l.nii", np.zeros((4, 3, 2), np.uint8), volume.grid)
    written = nib.load(tmp_path / "l.nii")
    np.testing.assert_allclose(written.affine, volume.grid.affine, rtol=1e-6)
    # What had to be assumed is not stated as if it were known.
    assert written.header["sform_code"] == written.header["qform_code"] == 0


def test_labels_follow_their_image_not_their_own_affine(tmp_path):
    image = nifti.read_image(save(tmp_path / "v.nii", np.zeros((2, 3, 4), np.int16), affine_of("LPS")))
    stored = np.zeros((2, 3, 4), np.uint8)
    stored[0, 0, 0] = 1
    path = save(tmp_path / "l.nii", stored, affine_of("SAR"))
    labels = nifti.read_labels(path, like=image.grid)
    assert labels.array_DHW.shape == (4, 3, 2)
    assert labels.array_DHW[0, 2, 1] == 1
    assert labels.spacing_mm == image.spacing_mm


def test_labels_of_another_shape_are_refused(tmp_path):
    grid = nifti.read_grid(save(tmp_path / "v.nii", np.zeros((2, 3, 4), np.int16)))
    path = save(tmp_path / "l.nii", np.zeros((2, 3, 5), np.uint8))
    with pytest.raises(InputError, match=r"2 x 3 x 5") as caught:
        nifti.read_labels(path, like=grid)
    assert caught.value.where == str(path)
    assert "2 x 3 x 4" in caught.value.expected


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_labels_of_any_stored_type(tmp_path, dtype):
    stored = np.array([0, 1, 2, 0], dtype).reshape(1, 2, 2)
    labels = nifti.read_labels(save(tmp_path / "l.nii", stored)).array_DHW
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, stored.transpose(2, 1, 0))


@pytest.mark.parametrize(
    "value", [np.int16(3), np.int16(-1), np.int16(256), np.float32(1.5), np.float32("nan"), np.float64(257)]
)
def test_other_labels_are_refused(tmp_path, value):
    stored = np.zeros((2, 2, 2), value.dtype)
    stored[1, 1, 1] = value
    with pytest.raises(InputError, match="label values") as caught:
        nifti.read_labels(save(tmp_path / "l.nii", stored))
    assert f"{value:g}" in caught.value.found
    assert "0 to 2" in caught.value.expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_voxels_are_refused(tmp_path, value):
    stored = np.zeros((2, 2, 2), np.float32)
    stored[0, 1, 0] = value
    with pytest.raises(InputError, match="NaN or infinite voxels"):
        nifti.read_image(save(tmp_path / "v.nii.gz", stored))


def test_write_labels_checks_what_it_gets(tmp_path):
    grid = nifti.read_grid(save(tmp_path / "v.nii", np.zeros((2, 3, 4), np.int16)))
    for wrong in (np.zeros((4, 3, 2), np.int32), np.zeros((2, 3, 4), np.uint8)):
        with pytest.raises(ValueError, match="the grid takes"):
            nifti.write_labels(tmp_path / "l.nii", wrong, grid)
    with pytest.raises(InputError, match="nii"):
        nifti.write_labels(tmp_path / "l.img", np.zeros((4, 3, 2), np.uint8), grid)
    assert [path.name for path in tmp_path.iterdir()] == ["v.nii"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    grid = nifti.read_grid(save(tmp_path / "v.nii", np.zeros((2, 3, 4), np.int16)))
    out = tmp_path / "l.nii.gz"
    nifti.write_labels(out, np.ones((4, 3, 2), np.uint8), grid)
    before = out.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", full)
    with pytest.raises(OSError, match="No space"):
        nifti.write_labels(out, np.zeros((4, 3, 2), np.uint8), grid)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.nii.gz", "v.nii"]


def test_equal_labels_give_equal_bytes(tmp_path):
    grid = nifti.read_grid(save(tmp_path / "v.nii", np.zeros((2, 3, 4), np.int16)))
    for name in ("a.nii.gz", "b.nii.gz"):
        nifti.write_labels(tmp_path / name, np.ones((4, 3, 2), np.uint8), grid)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_grid_views_are_inverse():
    grid_shape = (2, 3, 4)
    header = nib.Nifti1Header()
    array = np.arange(24).reshape(grid_shape)
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            grid = nifti.Grid(grid_shape, np.eye(4), header, order, flips)
            np.testing.assert_array_equal(grid.from_canonical(grid.to_canonical(array)), array)
            assert grid.to_canonical(array).shape == grid.shape_DHW
