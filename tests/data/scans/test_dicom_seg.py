"""Labels to a DICOM segmentation and back, and what others' segmentations look like."""

import copy
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import pack_bits
from pydicom.sequence import Sequence

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import dicom_seg_writer, nifti
from dsdenseunet.data.scans.dicom_seg_writer import write_segmentation
from dsdenseunet.data.scans.grid import distance_voxels
from dsdenseunet.tasks import lits
from dsdenseunet.tasks.colours import class_colours
from tests.data.scans import dicoms

TASK = lits.TASK


def labels_for(grid, seed=0):
    return np.random.default_rng(seed).integers(0, 3, grid.shape_DHW).astype(np.uint8)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """The folder of a series, its grid, and labels for it."""
    folder = tmp_path_factory.mktemp("dicom") / "series"
    dicoms.series(folder, directions=dicoms.OBLIQUE)
    grid = nifti.read_grid(folder)
    return folder, grid, labels_for(grid)


@pytest.fixture(scope="module")
def original(series):
    """A segmentation of that series."""
    folder, _, labels_DHW = series
    write_segmentation(folder.parent / "seg.dcm", labels_DHW, folder, TASK)
    return folder.parent / "seg.dcm"


@pytest.fixture
def written(original, tmp_path):
    """The same, to be changed."""
    return shutil.copy(original, tmp_path / "seg.dcm")


def changed(path, change):
    """The same segmentation after a change."""
    made = pydicom.dcmread(path)
    change(made)
    made.save_as(path, enforce_file_format=True)
    return path


def test_labels_come_back_as_they_were(series, written):
    _, grid, labels_DHW = series
    alone = nifti.read_labels(written)
    np.testing.assert_array_equal(alone.array_DHW, labels_DHW)
    assert distance_voxels(alone.grid, grid) < 1e-5
    assert alone.grid.series == grid.series
    np.testing.assert_array_equal(nifti.read_labels(written, like=grid).array_DHW, labels_DHW)


def test_labels_of_slices_that_run_backwards_come_back_as_they_were(tmp_path):
    dicoms.series(tmp_path / "series", directions=dicoms.AXIAL * (1, 1, -1))
    labels_DHW = labels_for(nifti.read_grid(tmp_path / "series"))
    write_segmentation(tmp_path / "seg.dcm", labels_DHW, tmp_path / "series", TASK)
    np.testing.assert_array_equal(nifti.read_labels(tmp_path / "seg.dcm").array_DHW, labels_DHW)


def test_frames_of_one_file_come_back_as_they_were(tmp_path):
    dicoms.enhanced(tmp_path / "one", dicoms.values(), (3, 0, 4, 1, 2))
    labels_DHW = labels_for(nifti.read_grid(tmp_path / "one"))
    write_segmentation(tmp_path / "seg.dcm", labels_DHW, tmp_path / "one", TASK)
    np.testing.assert_array_equal(nifti.read_labels(tmp_path / "seg.dcm").array_DHW, labels_DHW)


def test_no_label_at_all_comes_back_too(series, tmp_path):
    folder, grid, _ = series
    write_segmentation(tmp_path / "seg.dcm", np.zeros(grid.shape_DHW, np.uint8), folder, TASK)
    back = nifti.read_labels(tmp_path / "seg.dcm")
    assert back.array_DHW.shape == grid.shape_DHW
    assert not back.array_DHW.any()


def test_segments_are_named_and_coloured_by_the_task_and_refer_to_their_series(series, written):
    folder, _, _ = series
    made = pydicom.dcmread(written)
    images = [pydicom.dcmread(path) for path in folder.iterdir()]
    assert [item.SegmentLabel for item in made.SegmentSequence] == list(TASK.classes[1:])
    assert [item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for item in made.SegmentSequence] == [
        "Liver",
        "Neoplasm",
    ]
    # Lightness of the colours, from 0 to 65535: the liver's green is lighter than the tumour's red.
    light = [item.RecommendedDisplayCIELabValue[0] for item in made.SegmentSequence]
    assert class_colours(TASK) == ("#2fb344", "#e03131")
    assert light[0] > light[1] > 0
    (referenced,) = made.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == {
        image.SOPInstanceUID for image in images
    }
    assert (made.PatientID, made.StudyInstanceUID, made.FrameOfReferenceUID) == (
        images[0].PatientID,
        images[0].StudyInstanceUID,
        images[0].FrameOfReferenceUID,
    )


def keep_frames(*kept):
    """Leaves frames out, as most programs do with empty ones."""

    def change(made):
        bits = np.unpackbits(np.frombuffer(made.PixelData, np.uint8), bitorder="little")
        size = made.Rows * made.Columns
        frames = bits[: size * made.NumberOfFrames].reshape(-1, size)[list(kept)]
        made.PixelData = pack_bits(frames.ravel(), pad=True)
        made.NumberOfFrames = len(kept)
        groups = made.PerFrameFunctionalGroupsSequence
        made.PerFrameFunctionalGroupsSequence = Sequence([groups[number] for number in kept])

    return change


def segments_of(path):
    """(slice, segment) of each frame, slices by their position."""
    groups = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    places = [np.array(group.PlanePositionSequence[0].ImagePositionPatient, float) for group in groups]
    along = np.array(places) @ dicoms.OBLIQUE[:, 2]
    numbers = np.rint((along - along.min()) / dicoms.SPACING_MM[2]).astype(int)
    segments = [group.SegmentIdentificationSequence[0].ReferencedSegmentNumber for group in groups]
    return list(zip(numbers.tolist(), segments, strict=True))


def test_frames_that_are_left_out_are_background(series, written):
    _, grid, labels_DHW = series
    frames = segments_of(written)
    kept = [number for number, (k, segment) in enumerate(frames) if segment == 2 and k in (1, 3)]
    expected_IJK = grid.from_canonical(labels_DHW * (labels_DHW == 2))
    expected_IJK[:, :, [0, 2, 4]] = 0
    changed(written, keep_frames(*kept))
    np.testing.assert_array_equal(
        nifti.read_labels(written, like=grid).array_DHW, grid.to_canonical(expected_IJK)
    )
    # By itself it spans the slices that it has.
    assert nifti.read_grid(written).shape_IJK == (*grid.shape_IJK[:2], 3)


def test_a_nifti_image_along_other_axes_gets_the_labels_where_they_lie(series, written, tmp_path):
    _, grid, labels_DHW = series
    hu_IJK = grid.from_canonical(np.zeros(grid.shape_DHW, np.int16))
    turned = nib.Nifti1Image(hu_IJK, grid.affine).as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    nib.save(turned, tmp_path / "v.nii")
    like = nifti.read_grid(tmp_path / "v.nii")
    assert like.shape_IJK != grid.shape_IJK
    np.testing.assert_array_equal(nifti.read_labels(written, like=like).array_DHW, labels_DHW)
    reference, own = nifti.read_grids(tmp_path / "v.nii", written)
    assert reference.shape_IJK == own.shape_IJK == like.shape_IJK


def test_a_label_map_reads_as_bits_do(series, written):
    _, grid, labels_DHW = series
    labels_KJI = grid.from_canonical(labels_DHW).transpose(2, 1, 0)

    def change(made):
        frames = {k: number for number, (k, _) in enumerate(segments_of(written))}
        groups = [copy.deepcopy(made.PerFrameFunctionalGroupsSequence[frames[k]]) for k in range(5)]
        for group in groups:
            del group.SegmentIdentificationSequence
        made.SegmentationType, made.PerFrameFunctionalGroupsSequence = "LABELMAP", Sequence(groups)
        background = Dataset()
        background.SegmentNumber, background.SegmentLabel = 0, "Background"
        made.SegmentSequence.insert(0, background)
        made.NumberOfFrames = 5
        dicoms.put_pixels(made, labels_KJI)

    changed(written, change)
    np.testing.assert_array_equal(nifti.read_labels(written).array_DHW, labels_DHW)


def renamed(*names):
    def change(made):
        for item, name in zip(made.SegmentSequence, names, strict=True):
            item.SegmentLabel = name

    return change


def test_segments_are_known_by_name_whatever_their_numbers(series, written):
    _, _, labels_DHW = series
    changed(written, renamed("Tumour ", "LIVER"))
    swapped = np.array([0, 2, 1], np.uint8)
    np.testing.assert_array_equal(nifti.read_labels(written).array_DHW, swapped[labels_DHW])


def overlap(made):
    made.PixelData = b"\xff" * len(made.PixelData)


def other_series(made):
    made.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.77"


def moved(made):
    for group in made.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient[0] += 0.3


def uneven(made):
    made.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[2] -= 40.9


def fractional(made):
    made.SegmentationType = "FRACTIONAL"


def no_pixels(made):
    del made.PixelData


FAULTS = {
    "other names": (renamed("Mass", "liver"), ["'Mass'", "liver, tumour"]),
    "overlap": (overlap, ["two segments: liver and tumour"]),
    "another series": (other_series, ["the series 1.2.77", "1.2.5"]),
    "another grid": (moved, ["voxels off the image's"]),
    "uneven": (uneven, ["off an even grid"]),
    "fractions": (fractional, ["FRACTIONAL", "BINARY"]),
    "no pixels": (no_pixels, ["frame 1 cannot be read"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_are_no_labels_is_refused_by_name(series, written, fault):
    change, said = FAULTS[fault]
    changed(written, change)
    with pytest.raises(InputError) as refused:
        nifti.read_labels(written, like=series[1])
    assert not [words for words in said if words not in str(refused.value)], refused.value


def test_a_dicom_image_is_no_label_volume(series):
    with pytest.raises(InputError, match="a DICOM image"):
        nifti.read_labels(series[0])


def test_a_series_that_lacks_what_a_segmentation_needs_is_named_and_nothing_is_written(series, tmp_path):
    _, _, labels_DHW = series
    folder = shutil.copytree(series[0], tmp_path / "series")
    for path in folder.iterdir():
        made = pydicom.dcmread(path)
        del made.StudyInstanceUID
        made.save_as(path)
    with pytest.raises(InputError, match="no segmentation can be made"):
        write_segmentation(tmp_path / "out/seg.dcm", labels_DHW, folder, TASK)
    assert not (tmp_path / "out").exists()


def test_without_highdicom_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(dicom_seg_writer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install .*\[dicom\]"):
        dicom_seg_writer.check_installed("--suffix=.dcm")
