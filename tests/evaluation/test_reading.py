"""What each mode makes of two files: axes, shapes, spacings, places, and what is said of them."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.evaluation import geometry, reading
from dsdenseunet.evaluation.pairing import FilePair
from dsdenseunet.reporting import case_pictures

SPACING = (2.0, 1.0, 0.5)
AXCODES = ["RAS", "LPS", "LAS", "SAR", "PIR", "SPL", "ASL"]


def write(path, labels_DHW, axcodes="LPS", spacing=SPACING):
    nifti.write_new(path, labels_DHW, spacing, axcodes)
    return path


def labels(shape=(6, 8, 10)):
    """A lopsided liver with a tumour: no turn of it is the same."""
    array = np.zeros(shape, np.uint8)
    array[1:3, 2:7, 1:6] = 1
    array[1, 3, 2:4] = 2
    return array


def saved(path, array_IJK, affine, **header_fields):
    """A file whose header is as given, also where no library would write it so."""
    header = nib.Nifti1Image(array_IJK, affine).header
    for name, value in header_fields.items():
        if name == "units":
            header.set_xyzt_units(value)
        else:
            header["pixdim"][1:4] = value
    header["vox_offset"] = 352
    path.write_bytes(header.binaryblock + bytes(4) + array_IJK.tobytes(order="F"))
    return path


def translation(millimetres):
    affine = np.eye(4)
    affine[0, 3] = millimetres
    return affine


def score(prediction, reference, modes=("official", "corrected")):
    return reading.score_files(FilePair("a", prediction, reference), modes).scores


def test_the_official_mode_takes_files_as_they_lie_and_the_corrected_one_turns_them(tmp_path):
    scores = score(write(tmp_path / "p.nii", labels(), "RAS"), write(tmp_path / "r.nii", labels(), "LPS"))
    assert scores["official"].liver_dice < 1
    assert scores["official"].marks == (reading.AS_STORED,)
    assert not scores["official"].turned
    assert scores["corrected"].liver_dice == 1
    assert scores["corrected"].marks == (reading.TURNED,)
    assert scores["corrected"].turned


def test_a_nonsense_header_does_not_turn_what_fits(tmp_path):
    write(tmp_path / "p.nii", labels(), "LPS")
    array = np.asanyarray(nib.load(tmp_path / "p.nii").dataobj).copy()
    affine = np.diag([0.5, 1, 2, 1])
    affine[0, 3] = 3
    scores = score(tmp_path / "p.nii", saved(tmp_path / "r.nii", array, affine))
    assert scores["corrected"].liver_dice == 1
    assert scores["corrected"].marks == (reading.NOT_TURNED,)
    assert not scores["corrected"].turned


def test_axes_that_would_give_another_shape_are_not_turned(tmp_path):
    """The stored arrays agree; turning one by its nonsense affine would make another shape of it."""
    write(tmp_path / "p.nii", labels(), "LPS")
    array = np.asanyarray(nib.load(tmp_path / "p.nii").dataobj).copy()
    affine = np.array([[0, 0, 2, 5], [0.5, 0, 0, 5], [0, 1, 0, 5], [0, 0, 0, 1]], float)
    scores = score(tmp_path / "p.nii", saved(tmp_path / "r.nii", array, affine))
    assert [scores[mode].liver_dice for mode in scores] == [1, 1]
    assert scores["corrected"].marks == (reading.ONE_SHAPE,)


def test_one_grid_stored_along_permuted_axes_has_a_corrected_score_and_no_official_one(tmp_path):
    reference = write(tmp_path / "r.nii", labels())
    turned = write(tmp_path / "turned.nii", labels(), "SAR")
    scores = score(turned, reference)
    assert list(scores) == ["corrected"]
    assert scores["corrected"].liver_dice == scores["corrected"].tumour_dice == 1
    assert scores["corrected"].marks == (reading.TURNED, reading.NOT_OFFICIAL)
    assert score(turned, reference, ("corrected",))["corrected"].marks == (reading.TURNED,)
    # The advice works: see the line above.
    with pytest.raises(InputError, match="--mode=corrected turns it"):
        score(turned, reference, ("official",))


def test_shapes_and_labels_are_checked(tmp_path):
    reference = write(tmp_path / "r.nii", labels())
    with pytest.raises(InputError, match="resample"):
        score(write(tmp_path / "other.nii", labels((5, 8, 10))), reference)
    with pytest.raises(InputError, match="label values 3"):
        score(write(tmp_path / "three.nii", np.full((6, 8, 10), 3, np.uint8)), reference)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda affine: affine, []),
        (lambda affine: translation(0.04) @ affine, []),
        (lambda affine: translation(5) @ affine, ["place"]),
        (lambda affine: affine @ np.diag([1.25, 1, 1, 1]), ["voxel size"]),
        (lambda affine: affine @ np.diag([1.25, 1.25, 2, 1]), ["voxel size"]),
        (
            lambda affine: (
                [[0.995, -0.0998, 0, 0], [0.0998, 0.995, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]] @ affine
            ),
            ["directions"],
        ),
    ],
)
def test_grids_that_differ_are_marked_and_the_mark_says_how(tmp_path, change, names):
    """The affine has its first voxel at 0, so that scaling and turning leave it there."""
    affine = np.diag([0.8, 0.8, 2.5, 1])
    array = labels((16, 16, 10))
    reference = saved(tmp_path / "r.nii", array, affine)
    scores = score(saved(tmp_path / "p.nii", array, np.asarray(change(affine))), reference)
    expected = (reading.elsewhere(names),) if names else ()
    assert scores["official"].marks == scores["corrected"].marks == expected
    assert all(name in mark for name in names for mark in scores["corrected"].marks)


@given(
    st.lists(st.floats(-0.02, 0.02), min_size=12, max_size=12),
    st.sampled_from(AXCODES),
    st.sampled_from(AXCODES),
)
@settings(max_examples=60, deadline=None)
def test_grids_are_told_apart_by_their_corners_however_they_are_stored(
    tmp_path_factory, noise, first, second
):
    folder = tmp_path_factory.mktemp("grids")
    write(folder / "r.nii", labels(), first)
    write(folder / "p.nii", labels(), second)
    stored = nib.load(folder / "p.nii")
    moved = np.eye(4)
    moved[:3] += np.reshape(noise, (3, 4))
    saved(folder / "p.nii", np.asanyarray(stored.dataobj).copy(), moved @ stored.affine)
    grids = [nifti.read_grid(folder / name) for name in ("r.nii", "p.nii")]
    # Corners from the affines alone: nothing of `geometry` or `grid_checks`.
    corners = [
        grid.to_canonical(
            np.moveaxis(
                nib.affines.apply_affine(grid.affine, np.indices(grid.shape_IJK).reshape(3, -1).T).reshape(
                    *grid.shape_IJK, 3
                ),
                3,
                0,
            )[axis]
        )
        for grid in grids
        for axis in range(3)
    ]
    apart = np.sqrt(sum((corners[axis] - corners[3 + axis]) ** 2 for axis in range(3))).max()
    limit = 0.1 * min(SPACING)
    if abs(apart - limit) > 1e-4:
        assert bool(geometry.differences(*grids)) == (apart > limit)


@pytest.mark.parametrize(
    ("stated", "taken", "mark"),
    [
        ((0.8, 0.8, 2.5), (0.8, 0.8, 2.5), None),
        ((-0.8, -0.8, -2.5), (0.8, 0.8, 2.5), None),
        ((0, 0, 0), (1, 1, 1), reading.SPACING_OFFICIAL),
        ((0, 0.8, -2.5), (1, 0.8, 2.5), reading.SPACING_OFFICIAL),
        ((2, 2, 2), (2, 2, 2), reading.SPACING_OFFICIAL),
        ((np.nan, 0.8, 2.5), (0.8, 0.8, 2.5), reading.NO_VOXEL_SIZE),
        ((0.8, np.inf, 2.5), (0.8, 0.8, 2.5), reading.NO_VOXEL_SIZE),
    ],
)
def test_the_official_mode_takes_the_voxel_size_that_nibabel_loads(tmp_path, stated, taken, mark):
    """Beside a sound sform, which the corrected mode takes; no number is no spacing of nibabel's either."""
    array, affine = labels((16, 16, 10)), np.diag([0.8, 0.8, 2.5, 1])
    affine[:3, 3] = 7
    reference = saved(tmp_path / "r.nii", array, affine, pixdim=stated)
    prediction = saved(tmp_path / "p.nii", np.roll(array, 1, 0), affine)
    scores = score(prediction, reference)
    assert scores["official"].spacing_mm == pytest.approx(taken)
    assert scores["corrected"].spacing_mm == pytest.approx((0.8, 0.8, 2.5))
    # The liver is moved along the first axis, so that no distance is 0.
    assert all(scores[mode].liver.assd > 0 for mode in scores)
    loaded = nib.load(reference).header.get_zooms()
    if np.isfinite(loaded).all():
        assert scores["official"].spacing_mm == pytest.approx(loaded)
    ours = [mark for mark in scores["official"].marks if not mark.startswith("reference: ")]
    assert ours == ([mark] if mark else [])
    if mark == reading.SPACING_OFFICIAL:
        assert reading.SPACING in scores["corrected"].marks


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("meter", 1e-3), ("micron", 1e3)])
def test_both_modes_score_in_millimetres_whatever_the_unit(tmp_path, unit, factor):
    array, affine = labels((16, 16, 10)), np.diag([0.8, 0.8, 2.5, 1])
    affine[:3, 3] = 7
    affine[:3] *= factor
    files = [
        saved(tmp_path / name, labels_IJK, affine, units=unit, pixdim=np.array([0.8, 0.8, 2.5]) * factor)
        for name, labels_IJK in (("p.nii", np.roll(array, 1, 0)), ("r.nii", array))
    ]
    scores = score(*files)
    for mode in scores:
        assert scores[mode].spacing_mm == pytest.approx((0.8, 0.8, 2.5), rel=1e-5)
    assert (reading.CONVERTED in scores["official"].marks) == (unit != "mm")


def test_what_a_header_leaves_open_is_among_the_marks_of_both_modes(tmp_path):
    """A file without any orientation, beside a sound one."""
    header = nib.Nifti1Header()
    array = labels()
    header.set_data_shape(array.shape)
    header.set_data_dtype(np.uint8)
    header["pixdim"][1:4] = 1, 2, 3
    header["vox_offset"] = 352
    (tmp_path / "p.nii").write_bytes(header.binaryblock + bytes(4) + array.tobytes(order="F"))
    reference = saved(tmp_path / "r.nii", array, nifti.read_grid(tmp_path / "p.nii").affine)
    (mark,) = nifti.read_grid(tmp_path / "p.nii").marks
    scores = score(tmp_path / "p.nii", reference)
    assert scores["official"].marks == scores["corrected"].marks == (f"prediction: {mark}",)
    scores = score(reference, tmp_path / "p.nii")
    assert scores["official"].marks == scores["corrected"].marks == (f"reference: {mark}",)


@pytest.mark.parametrize("prediction_codes", AXCODES)
@pytest.mark.parametrize("reference_codes", ["LPS", "SAR"])
@pytest.mark.parametrize("image_codes", ["LPS", "PIR"])
def test_a_picture_shows_what_was_scored(tmp_path, prediction_codes, reference_codes, image_codes):
    prediction = write(tmp_path / "p.nii", labels(), prediction_codes)
    reference = write(tmp_path / "r.nii", labels(), reference_codes)
    write(tmp_path / "ct.nii", labels().astype(np.int16), image_codes)
    image = nifti.read_image(tmp_path / "ct.nii")
    scores = score(prediction, reference)
    for mode, scored in scores.items():
        truth, drawn = case_pictures.scored_labels(image.grid, reference, prediction, scored.turned)
        total = np.count_nonzero(truth) + np.count_nonzero(drawn)
        assert 2 * np.count_nonzero((truth > 0) & (drawn > 0)) / total == pytest.approx(scored.liver_dice)
        if mode == "corrected":
            assert scored.liver_dice == 1
            # Where the CT is stored as the reference or not, the truth lies on it.
            assert np.array_equal(truth, image.array_DHW)
