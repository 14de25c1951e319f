"""A DICOM series is the volume that a NIfTI file of the same voxels is, or it is refused by name."""

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import MPEG2MPML, JPEGLSLossless, MRImageStorage, RLELossless

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.grid import distance_voxels
from dsdenseunet.data.scans.opening import open_volume
from dsdenseunet.tasks.channel import Channel
from tests.data.scans import dicoms

BACKWARDS = dicoms.OBLIQUE * (1, 1, -1)
SAGITTAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
DIRECTIONS = {
    "axial": dicoms.AXIAL,
    "oblique": dicoms.OBLIQUE,
    "slices run backwards": BACKWARDS,
    "sagittal": SAGITTAL,
}
MR = (Channel("MR", "zscore"),)


def as_nifti(path, hu_IJK, directions):
    nib.save(nib.Nifti1Image(hu_IJK, dicoms.affine_of(directions)), path)
    return nifti.read_image(path)


@pytest.mark.parametrize("directions", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_series_reads_as_the_nifti_of_its_voxels(tmp_path, directions):
    hu_IJK = dicoms.series(tmp_path / "series", directions=directions)
    read, expected = nifti.read_image(tmp_path / "series"), as_nifti(tmp_path / "v.nii", hu_IJK, directions)
    np.testing.assert_array_equal(read.array_DHW, expected.array_DHW)
    assert read.array_DHW.dtype == np.int16
    np.testing.assert_allclose(read.spacing_mm, expected.spacing_mm, rtol=1e-6)
    assert distance_voxels(read.grid, expected.grid) < 1e-5
    assert read.grid.marks == ()
    if directions is dicoms.AXIAL:
        np.testing.assert_array_equal(read.grid.affine, expected.grid.affine)


def test_the_grid_is_known_without_pixels(tmp_path):
    hu_IJK = dicoms.values()
    sets = dicoms.slices(hu_IJK)
    for one in sets:
        del one.PixelData
    grid = nifti.read_grid(dicoms.save(tmp_path / "series", sets))
    assert grid.shape_IJK == hu_IJK.shape
    assert grid.series == ("1.2.5",)
    with pytest.raises(InputError, match="no pixel data"):
        nifti.read_image(tmp_path / "series")


def test_each_slice_is_rescaled_by_its_own_numbers(tmp_path):
    hu_IJK = dicoms.series(tmp_path / "series", slope=(1, 0.5, 0.25, 1, 2**-4), inter=(0, -1024, 8, -2000, 1))
    read = nifti.read_image(tmp_path / "series")
    np.testing.assert_array_equal(read.grid.from_canonical(read.array_DHW), hu_IJK)


@pytest.mark.parametrize("inter", [-1024, (-1024, -1000, 0, 8, -2000)], ids=["one", "several"])
def test_whole_numbers_that_are_added_keep_values_whole(tmp_path, inter):
    hu_IJK = dicoms.series(tmp_path / "series", inter=inter)
    stored = open_volume(tmp_path / "series")
    assert (stored.slope, stored.inter) == (1, 0)
    assert {values.dtype for _, values in stored.blocks()} == {np.dtype(np.int32)}
    read = nifti.read_image(tmp_path / "series")
    np.testing.assert_array_equal(read.grid.from_canonical(read.array_DHW), hu_IJK)


def test_32_bit_values_are_rescaled_once(tmp_path):
    sets = dicoms.slices(hu_IJK := dicoms.values())
    for k, one in enumerate(sets):
        dicoms.put_pixels(one, (hu_IJK[:, :, k].T + 1024).astype(np.int32))
    read = nifti.read_image(dicoms.save(tmp_path / "series", sets))
    np.testing.assert_array_equal(read.grid.from_canonical(read.array_DHW), hu_IJK)


def test_values_beyond_16_bits_are_cut_off_under_a_mark(tmp_path):
    hu_IJK = dicoms.values()
    sets = dicoms.slices(hu_IJK)
    stored = (hu_IJK[:, :, 2].T + 1024).astype(np.uint16)
    stored[3, 4] = 40000
    dicoms.put_pixels(sets[2], stored)
    read = nifti.read_image(dicoms.save(tmp_path / "series", sets))
    assert read.grid.from_canonical(read.array_DHW)[4, 3, 2] == np.iinfo(np.int16).max
    assert "1 voxel beyond" in read.grid.marks[0]


def test_another_modality_keeps_what_is_stored(tmp_path):
    mr_IJK = dicoms.values(low=0)
    made = dicoms.slices(mr_IJK, storage=MRImageStorage, inter=0.0)
    for one in made:
        del one.RescaleSlope, one.RescaleIntercept
    read = nifti.read_image(dicoms.save(tmp_path / "series", made), channels=MR)
    np.testing.assert_array_equal(read.grid.from_canonical(read.array_DHW), mr_IJK)


def test_frames_of_one_file_are_put_in_order(tmp_path):
    hu_IJK = dicoms.series(tmp_path / "series", directions=dicoms.OBLIQUE)
    one = nifti.read_image(dicoms.enhanced(tmp_path / "one", hu_IJK, (3, 0, 4, 1, 2), dicoms.OBLIQUE))
    series = nifti.read_image(tmp_path / "series")
    np.testing.assert_array_equal(one.array_DHW, series.array_DHW)
    np.testing.assert_array_equal(one.grid.affine, series.grid.affine)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda syntax: syntax.name)
def test_compressed_slices_read_as_others(tmp_path, syntax):
    hu_IJK = dicoms.values()
    made = dicoms.slices(hu_IJK)
    for one in made:
        one.compress(syntax, generate_instance_uid=False)
    read = nifti.read_image(dicoms.save(tmp_path / "series", made))
    np.testing.assert_array_equal(read.grid.from_canonical(read.array_DHW), hu_IJK)


def test_what_lies_beside_the_slices_plays_no_part(tmp_path):
    hu_IJK = dicoms.series(folder := tmp_path / "series")
    (folder / "README.txt").write_text("not DICOM")
    (folder / ".IM0000").write_bytes((folder / "IM0000").read_bytes())
    report = dicoms.dataset("1.2.840.10008.5.1.4.1.1.88.11", "1.2.9")
    report.save_as(folder / "report.dcm", enforce_file_format=True)
    read = nifti.read_image(folder)
    np.testing.assert_array_equal(read.grid.from_canonical(read.array_DHW), hu_IJK)


def test_second_copies_of_a_file_count_once_and_are_told(tmp_path):
    hu_IJK = dicoms.series(folder := tmp_path / "series")
    (folder / "IM0002 (copy)").write_bytes((folder / "IM0002").read_bytes())
    read = nifti.read_image(folder)
    np.testing.assert_array_equal(read.grid.from_canonical(read.array_DHW), hu_IJK)
    assert read.grid.marks == ("1 second copy of slices: IM0002 (copy)",)


def another_series(sets):
    sets[1].SeriesInstanceUID, sets[1].SeriesDescription = "1.2.99", "Scout"


def missing(sets):
    del sets[2]


def shifted(mm, *which):
    def change(sets):
        for number in which:
            sets[number].ImagePositionPatient[2] += mm

    return change


def tilted(sets):
    for k, one in enumerate(sets):
        one.ImagePositionPatient[1] += 0.5 * k


def turned(sets):
    sets[3].ImageOrientationPatient = [0, 1, 0, 0, 0, 1]


def same_place(sets):
    sets[3].ImagePositionPatient, sets[3].AcquisitionNumber = sets[2].ImagePositionPatient, 2


def setting(name, value, *which):
    def change(sets):
        for number in which or range(len(sets)):
            setattr(sets[number], name, value)

    return change


def without(name):
    def change(sets):
        for one in sets:
            del one[name]

    return change


def cut_short(sets):
    sets[4].PixelData = sets[4].PixelData[:-20]


def unknown_compression(sets):
    for one in sets:
        one.file_meta.TransferSyntaxUID = MPEG2MPML
        one["PixelData"].is_undefined_length = True
        one.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"


FAULTS = {
    "several series": (another_series, ["2 series", "Scout (CT, 1 image)", "Abdomen 2.5 mm (CT, 4 images)"]),
    "a slice is missing": (
        missing,
        ["1 slice missing: 1 between IM0002 at", "-107.8", "IM0001 at", "-102.8"],
    ),
    "unequal distances": (shifted(0.8, 3, 4), ["2.5 to 3.3 mm apart", "between IM0002 and IM0001"]),
    "tilted gantry": (tilted, ["tilted by 11.3 degrees", "dcm2niix"]),
    "other directions": (turned, ["different directions", "IM0001 has 0 x 1 x 0"]),
    "two volumes": (same_place, ["5 slices at 4 places", "they differ in AcquisitionNumber"]),
    "other spacing": (setting("PixelSpacing", [1, 1], 2), ["different pixel spacings", "0.75 x 1.25 mm"]),
    "other type": (setting("PixelRepresentation", 1, 2), ["different types", "uint16", "int16"]),
    "no position": (without("ImagePositionPatient"), ["no ImagePositionPatient"]),
    "no spacing": (without("PixelSpacing"), ["no PixelSpacing"]),
    "a slope of 0": (setting("RescaleSlope", 0), ["RescaleSlope 0"]),
    "colours": (setting("SamplesPerPixel", 3), ["a colour image"]),
    "cut short": (cut_short, ["pixels that cannot be read", "IM0000"]),
    "compression": (unknown_compression, ["MPEG2", "no decoder", "pip install"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_volume_is_refused_by_name(tmp_path, fault):
    change, said = FAULTS[fault]
    change(sets := dicoms.slices(dicoms.values()))
    with pytest.raises(InputError) as refused:
        nifti.read_image(dicoms.save(tmp_path / "series", sets))
    assert not [words for words in said if words not in str(refused.value)], refused.value


def test_paths_that_lead_to_no_series_are_refused(tmp_path):
    dicoms.series(tmp_path / "series")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without CT, MR or PET"):
        open_volume(tmp_path / "empty")
    with pytest.raises(InputError, match="one slice of a DICOM series"):
        open_volume(tmp_path / "series/IM0000")
    with pytest.raises(InputError, match="2 channels"):
        open_volume(tmp_path / "series", channels=2)
