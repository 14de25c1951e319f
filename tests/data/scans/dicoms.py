"""DICOM series as a scanner writes them, small: a file for each slice, or all slices in one file."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

# (columns, rows, slices); sides that differ show what is mixed up.
SHAPE_IJK = (8, 7, 5)
SPACING_MM = (0.75, 1.25, 2.5)
AXIAL = np.eye(3)
# Columns, rows and slices along directions that are none of the patient's.
OBLIQUE = np.linalg.qr(np.array([[0.9, -0.3, 0.2], [0.2, 1.0, 0.1], [-0.3, 0.0, 0.9]]))[0]
OBLIQUE = OBLIQUE * np.sign(np.diag(OBLIQUE))
FIRST_MM = np.array([-20.0, 35.5, -110.25])


def values(seed=0, shape=SHAPE_IJK, low=-1000, high=1000):
    """Hounsfield units, (column, row, slice)."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int16)


def affine_of(directions, spacing_mm=SPACING_MM, first_mm=FIRST_MM):
    """Voxel to mm, in NIfTI's axes, computed apart from what is tested."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(directions) * spacing_mm
    affine[:3, 3] = first_mm
    affine[:2] *= -1
    return affine


def dataset(storage, series, study="1.2.3", frame_of_reference="1.2.4"):
    """What every object of a study has."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = storage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
    made.SeriesInstanceUID, made.StudyInstanceUID, made.FrameOfReferenceUID = (
        series,
        study,
        frame_of_reference,
    )
    made.Modality = "MR" if storage == MRImageStorage else "CT"
    made.SeriesDescription = "Abdomen 2.5 mm"
    # Names as hospitals write them.
    made.PatientID, made.PatientName, made.PatientSex, made.PatientBirthDate = "7", "NOBODY", "", ""
    made.StudyID = made.AccessionNumber = made.ReferringPhysicianName = ""
    made.StudyDate, made.StudyTime, made.SeriesNumber = "20200101", "120000", 4
    made.Manufacturer = "None"
    return made


def put_pixels(made, stored):
    """Pixels as (frame, row, column) or (row, column)."""
    made.Rows, made.Columns = stored.shape[-2:]
    made.BitsAllocated = made.BitsStored = 8 * stored.dtype.itemsize
    made.HighBit, made.SamplesPerPixel = made.BitsStored - 1, 1
    made.PixelRepresentation, made.PhotometricInterpretation = int(stored.dtype.kind == "i"), "MONOCHROME2"
    made.PixelData = np.ascontiguousarray(stored).tobytes()


def slices(hu_IJK, directions=AXIAL, *, storage=CTImageStorage, series="1.2.5", slope=1.0, inter=-1024.0):
    """A data set for each slice, from the first along the third direction on.

    `slope` and `inter` may be one for each slice; stored values times slope plus inter are `hu_IJK`.
    """
    count = hu_IJK.shape[2]
    slopes, inters = np.broadcast_to(slope, count), np.broadcast_to(inter, count)
    stored_KJI = np.rint((hu_IJK.T - inters[:, None, None]) / slopes[:, None, None])
    stored_KJI = stored_KJI.astype(np.int16 if stored_KJI.min() < 0 else np.uint16)
    made = []
    for k in range(count):
        one = dataset(storage, series)
        place = FIRST_MM + directions[:, 2] * SPACING_MM[2] * k
        one.ImagePositionPatient = [f"{value:.6f}" for value in place]
        one.ImageOrientationPatient = [f"{value:.10f}" for value in directions[:, :2].T.ravel()]
        one.PixelSpacing = [SPACING_MM[1], SPACING_MM[0]]
        one.SliceThickness, one.InstanceNumber = 3.0, k + 1
        one.RescaleSlope, one.RescaleIntercept = float(slopes[k]), float(inters[k])
        put_pixels(one, stored_KJI[k])
        made.append(one)
    return made


def save(folder, sets, name="IM{:04d}"):
    """Writes data sets into a folder, last first, as names say nothing of the order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(reversed(sets)):
        one.save_as(folder / name.format(number), enforce_file_format=True)
    return folder


def series(folder, seed=0, directions=AXIAL, **options):
    """Writes a series; returns its values, (column, row, slice)."""
    hu_IJK = values(seed, low=-900, high=900)
    save(folder, slices(hu_IJK, directions, **options))
    return hu_IJK


def enhanced(path, hu_IJK, order, directions=AXIAL, inter=-1024.0):
    """Writes all slices into one file, frames in some order."""
    made = dataset(EnhancedCTImageStorage, "1.2.6")
    put_pixels(made, np.stack([hu_IJK[:, :, k].T - int(inter) for k in order]).astype(np.uint16))
    made.NumberOfFrames = len(order)
    shared, measures, orientation, rescale = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [SPACING_MM[1], SPACING_MM[0]], 3.0
    orientation.ImageOrientationPatient = [f"{value:.10f}" for value in directions[:, :2].T.ravel()]
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1.0, inter, "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = (
        Sequence([measures]),
        Sequence([orientation]),
    )
    shared.PixelValueTransformationSequence = Sequence([rescale])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in order:
        frame, position = Dataset(), Dataset()
        place = FIRST_MM + directions[:, 2] * SPACING_MM[2] * k
        position.ImagePositionPatient = [f"{value:.6f}" for value in place]
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = Sequence(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path
