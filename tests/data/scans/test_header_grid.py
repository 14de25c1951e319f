"""A sound header is read as nibabel reads it, any other one under a mark or not at all."""

import contextlib
import logging

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import header_grid, nifti

SHAPE = (3, 4, 5)
LPS = np.array([[-0.8, 0, 0, 11], [0, -0.7, 0, -7], [0, 0, 2.5, 3], [0, 0, 0, 1]])
UNITS = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
MANY = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def quiet_nibabel():
    """Nibabel logs every repair that it makes while it loads."""
    logger = logging.getLogger("nibabel.global")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.WARNING)


def header_of(affine=LPS, *, sform=1, qform=1, edit=lambda header: None, kind=nib.Nifti1Header):
    header = kind()
    header.set_data_shape(SHAPE)
    header.set_data_dtype(np.int16)
    header["vox_offset"] = int(header["sizeof_hdr"]) + 4
    header.set_sform(affine, sform)
    header.set_qform(affine, qform)
    edit(header)
    return header


def write(path, header):
    path.write_bytes(header.binaryblock + bytes(4) + bytes(2 * 3 * 4 * 5))
    return path


def place(header):
    return header_grid.place(header, "v.nii")


def kinds(header):
    return [note.kind for note in place(header).notes]


def setting(**fields):
    """An edit that sets whole fields, or single elements as `pixdim_0`."""

    def edit(header):
        for name, value in fields.items():
            field, _, index = name.rpartition("_")
            if index.isdigit():
                header[field][int(index)] = value
            else:
                header[name] = value

    return edit


def scaled(factor, affine=LPS):
    return np.diag((factor, factor, factor, 1)) @ affine


axes = st.permutations(range(3))
signs = st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3)
sides = st.tuples(*[st.floats(0.05, 10)] * 3)
angles = st.tuples(*[st.floats(-0.3, 0.3)] * 3)
offsets = st.tuples(*[st.floats(-500, 500)] * 3)


@st.composite
def affines(draw):
    """Sound ones: any axis order, any direction, oblique."""
    turn = nib.eulerangles.euler2mat(*draw(angles))
    directions = (turn @ np.eye(3)[:, list(draw(axes))]) * draw(signs)
    return nib.affines.from_matvec(directions * draw(sides), draw(offsets))


@pytest.mark.parametrize("qfac", [0, np.nan, 1])
def test_qfac_zero_counts_as_one(qfac):
    header = header_of(sform=0, edit=setting(pixdim_0=qfac))
    np.testing.assert_allclose(place(header).affine, LPS, atol=1e-5)


def test_qfac_minus_one_mirrors_the_third_axis():
    left_handed = LPS @ np.diag((1, 1, -1, 1))
    header = header_of(left_handed, sform=0)
    assert header["pixdim"][0] == -1
    np.testing.assert_allclose(place(header).affine, left_handed, atol=1e-5)
    header["pixdim"][0] = -0.5
    np.testing.assert_allclose(place(header).affine, left_handed, atol=1e-5)
    assert kinds(header) == ["qfac"]


@pytest.mark.parametrize(("code", "native"), [(0, 1), (1, 1e-3), (2, 1), (3, 1e3)])
@pytest.mark.parametrize("forms", [(1, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize("time_code", [0, 8, 16])
def test_lengths_are_millimetres_whatever_the_unit(code, native, forms, time_code):
    header = header_of(
        scaled(native), sform=forms[0], qform=forms[1], edit=setting(xyzt_units=code | time_code)
    )
    placement = place(header)
    np.testing.assert_allclose(placement.affine, LPS, rtol=1e-5, atol=1e-5)
    assert placement.notes == ()
    np.testing.assert_allclose(header_grid.zooms_mm_as_nibabel_loads(header), (0.8, 0.7, 2.5), rtol=1e-6)


@pytest.mark.parametrize("code", [1, 3, 5])
def test_a_unit_that_cannot_be_meant_is_marked(code):
    header = header_of(edit=setting(xyzt_units=code))
    np.testing.assert_allclose(place(header).affine, LPS, rtol=1e-6)
    assert kinds(header) == ["unit"]


@pytest.mark.parametrize("sizes", [(0, 0, 0), (-0.8, -0.7, -2.5), (np.nan,) * 3, (np.inf, 0, 1e30)])
def test_a_sound_sform_counts_whatever_the_voxel_size_says(sizes, tmp_path):
    header = header_of(qform=0, edit=setting(pixdim=(1, *sizes, 1, 1, 1, 1)))
    placement = place(header)
    np.testing.assert_allclose(placement.affine, LPS, rtol=1e-6)
    assert [note.kind for note in placement.notes] == ["broken-size"]
    loaded = nib.load(write(tmp_path / "v.nii", header)).header.get_zooms()
    np.testing.assert_allclose(header_grid.zooms_mm_as_nibabel_loads(header), loaded)
    repaired = header_grid.sound_header(header, "v.nii")
    np.testing.assert_allclose(repaired.get_zooms(), (0.8, 0.7, 2.5), rtol=1e-6)


def test_sizes_that_differ_are_marked():
    header = header_of(qform=0, edit=setting(pixdim_3=5))
    assert kinds(header) == ["sizes-differ"]
    assert "0.8 x 0.7 x 5 mm" in place(header).notes[0].text


@pytest.mark.parametrize(
    ("sizes", "expected", "kind"),
    [
        ((0.8, 0.7, 2.5), (0.8, 0.7, 2.5), None),
        ((-0.8, 0.7, -2.5), (0.8, 0.7, 2.5), "broken-size"),
        ((0, 0.7, 2.5), (1, 0.7, 2.5), "assumed-size"),
    ],
)
def test_without_an_orientation_the_voxel_size_is_read_as_nibabel_does(sizes, expected, kind, tmp_path):
    header = header_of(sform=0, qform=0, edit=setting(pixdim=(1, *sizes, 1, 1, 1, 1)))
    placement = place(header)
    np.testing.assert_allclose(
        placement.affine, nib.load(write(tmp_path / "v.nii", header)).affine, rtol=1e-6
    )
    np.testing.assert_allclose(np.linalg.norm(placement.affine[:3, :3], axis=0), expected, rtol=1e-6)
    assert [note.kind for note in placement.notes] == ["no-orientation", *([kind] if kind else [])]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9])
def test_without_any_size_that_can_be_read_a_header_is_refused(bad):
    header = header_of(edit=setting(srow_x=bad, quatern_b=np.nan, pixdim_2=bad))
    with pytest.raises(InputError, match="how large") as caught:
        place(header)
    assert caught.value.where == "v.nii"
    assert all(name in caught.value.found for name in ("sform", "qform", "voxel size"))


@pytest.mark.parametrize("length", [1 + 1e-7, 1 + 1e-5, 1.0004, 1.2])
def test_a_quaternion_longer_than_one_is_shortened_and_marked_where_nibabel_refuses_it(length):
    bcd = np.array((0.6, 0, 0.8)) * length
    header = header_of(sform=0, edit=setting(quatern_b=bcd[0], quatern_c=bcd[1], quatern_d=bcd[2]))
    expected = nib.quaternions.quat2mat((0, 0.6, 0, 0.8)) * (0.8, 0.7, 2.5)
    np.testing.assert_allclose(place(header).affine[:3, :3], expected, atol=1e-3)
    assert kinds(header) == (["quaternion"] if length > 1 + 1e-6 else [])
    with pytest.raises(ValueError, match="w2") if kinds(header) else contextlib.nullcontext():
        header.get_qform()


@pytest.mark.parametrize("code", [6, 99, -1, -32768])
def test_codes_that_the_standard_does_not_know(code):
    header = header_of(edit=setting(sform_code=code))
    np.testing.assert_allclose(place(header).affine, LPS, atol=1e-5)
    assert kinds(header) == ["code"]


def test_a_broken_quaternion_is_not_written_again():
    header = header_of(edit=setting(quatern_b=np.nan))
    sound = header_grid.sound_header(header, "v.nii")
    assert sound["qform_code"] == 0
    np.testing.assert_allclose(sound.get_qform(), LPS, atol=1e-5)


@MANY
@given(affine=affines(), kind=st.sampled_from([nib.Nifti1Header, nib.Nifti2Header]))
def test_a_quaternion_is_never_written_longer_than_one(affine, kind):
    header = header_of(kind=kind)
    header_grid.set_qform(header, affine, 1)
    # Near half a turn 32 bits leave a thousandth of a radian open; sides are 10 mm at most.
    np.testing.assert_allclose(header.get_qform(), affine, rtol=1e-3, atol=0.02)


def test_a_broken_sform_gives_way_to_a_sound_qform_and_the_other_way_round():
    header = header_of(edit=setting(srow_x=0))
    assert place(header).source == "qform"
    assert kinds(header) == ["unused"]
    header = header_of(edit=setting(quatern_c=np.nan))
    assert place(header).source == "sform"
    assert kinds(header) == ["unused"]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (LPS @ np.diag((-1, 1, 1, 1)), "mirrored"),
        (LPS @ np.diag((-1, -1, 1, 1)), "turned"),
        (LPS + np.array([[0, 0, 0, 2]] * 3 + [[0] * 4]), "3.464 mm apart"),
        (nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1), (0, 0, 0)) @ LPS, "5.7 degrees"),
    ],
)
def test_a_qform_that_contradicts_the_sform_is_marked(other, words):
    header = header_of(edit=lambda header: header.set_qform(other, 1))
    placement = place(header)
    np.testing.assert_allclose(placement.affine, LPS, rtol=1e-6)
    assert [(note.kind, words in note.text) for note in placement.notes] == [("contradiction", True)]


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1)])
def test_one_millimetre_at_the_origin_is_geometry_that_was_lost(flips):
    assert kinds(header_of(np.diag((*flips, 1)))) == ["no-geometry"]
    assert kinds(header_of(nib.affines.from_matvec(np.diag(flips), (10, 20, 30)))) == []
    assert kinds(header_of(np.eye(4), sform=0, qform=0)) == ["no-orientation", "no-geometry"]


def test_a_tilted_gantry_is_marked():
    tilted = LPS.copy()
    tilted[1, 2] = 0.4
    assert kinds(header_of(tilted, qform=0)) == ["sheared"]


@MANY
@given(
    affine=affines(),
    forms=st.sampled_from([(1, 1), (2, 0), (0, 1), (4, 4)]),
    unit=st.sampled_from(sorted(UNITS)),
    kind=st.sampled_from([nib.Nifti1Header, nib.Nifti2Header]),
)
def test_a_sound_header_has_no_mark_and_is_read_as_nibabel_reads_it(tmp_path, affine, forms, unit, kind):
    header = header_of(
        scaled(1 / UNITS[unit], affine),
        sform=forms[0],
        qform=forms[1],
        edit=setting(xyzt_units=unit),
        kind=kind,
    )
    path = write(tmp_path / "v.nii", header)
    grid = nifti.read_grid(path)
    assert grid.marks == ()
    np.testing.assert_allclose(grid.affine, scaled(UNITS[unit], nib.load(path).affine), rtol=1e-4, atol=1e-3)
    assert_same_place(path, grid, UNITS[unit])
    nifti.write_labels(tmp_path / "l.nii", np.zeros(grid.shape_DHW, np.uint8), grid)
    written = nib.load(tmp_path / "l.nii").header
    for field in ("pixdim", "xyzt_units", "srow_x", "srow_y", "quatern_b", "quatern_c", "quatern_d"):
        np.testing.assert_array_equal(written[field], header[field])


numbers = st.sampled_from(
    [0.0, 1.0, -1.0, 0.8, -2.5, 0.7, 1e-3, 700.0, np.nan, np.inf, -np.inf, 1e30, -1e-30]
)
codes = st.sampled_from([-1, 0, 1, 1, 2, 4, 5, 6, 300])
# Without `quatern_b` two of its axes lie at exactly 45 degrees.
TIED = nib.affines.from_matvec(-np.eye(3)[[2, 0, 1]])
FIELDS = [
    *(f"srow_{letter}_{index}" for letter in "xyz" for index in range(4)),
    *(f"quatern_{letter}" for letter in "bcd"),
    *(f"qoffset_{letter}" for letter in "xyz"),
    *(f"pixdim_{index}" for index in range(5)),
]


@example(affine=LPS, forms=(0, 1), units=0, edits={"quatern_d": 1.0004}, kind=nib.Nifti1Header)
@example(affine=TIED, forms=(-1, 1), units=0, edits={"quatern_b": 0.0}, kind=nib.Nifti2Header)
@MANY
@given(
    affine=affines(),
    forms=st.tuples(codes, codes),
    units=st.integers(0, 63),
    edits=st.dictionaries(st.sampled_from(FIELDS), numbers, max_size=6),
    kind=st.sampled_from([nib.Nifti1Header, nib.Nifti2Header]),
)
def test_any_header_is_read_as_nibabel_reads_it_or_marked_or_refused(
    tmp_path, affine, forms, units, edits, kind
):
    def edit(header):
        setting(**edits, xyzt_units=units, sform_code=forms[0], qform_code=forms[1])(header)

    path = write(tmp_path / "v.nii", header_of(affine, edit=edit, kind=kind))
    try:
        grid = nifti.read_grid(path)
    except InputError as error:
        # Refused only where nibabel has nothing that can be meant either.
        assert "voxel size" in error.found
        return
    assert all(np.isfinite(grid.spacing_mm))
    assert_output_lies_as(grid, path, tmp_path / "l.nii")
    if not grid.marks:
        assert_same_place(path, grid, UNITS[units & 7])


def assert_same_place(path, grid, unit_mm):
    loaded = nib.load(path)
    affine = scaled(unit_mm, loaded.affine)
    assert aff2axcodes(affine) == aff2axcodes(grid.affine)
    np.testing.assert_allclose(affine, grid.affine, rtol=1e-3, atol=2e-3)
    spacing_IJK = np.array(loaded.header.get_zooms()) * unit_mm
    np.testing.assert_allclose(spacing_IJK[list(grid.axis_order)], grid.spacing_mm, rtol=0.011)


def assert_output_lies_as(grid, path, out):
    """A prediction reads as the same grid, here and in nibabel, and its header can be read by any program."""
    nifti.write_labels(out, np.zeros(grid.shape_DHW, np.uint8), grid)
    again = nifti.read_grid(out)
    assert (again.axis_order, again.flips) == (grid.axis_order, grid.flips)
    np.testing.assert_allclose(again.affine, grid.affine, rtol=1e-3, atol=2e-3)
    loaded = nib.load(out)
    placement = header_grid.place(grid.header, path)
    np.testing.assert_allclose(scaled(placement.unit_mm, loaded.affine), grid.affine, rtol=1e-3, atol=2e-3)
    if loaded.header["qform_code"] > 0:
        assert np.isfinite(loaded.get_qform()).all()
    assert all(0 < side < np.inf for side in loaded.header.get_zooms())
