"""Known faults of such data, each put into a folder of phantoms; what the doctor must say of it."""

import gzip
import shutil

import nibabel as nib
import numpy as np

from dsdenseunet.data.scans import nifti


def rewrite(path, change=None, affine=None, dtype=None):
    """Stores a file again with other voxels, affine or type."""
    image = nib.load(path)
    array = np.asanyarray(image.dataobj)
    if change is not None:
        array = change(array.copy())
    header = image.header.copy()
    header.set_data_dtype(dtype or array.dtype)
    changed = nib.Nifti1Image(array, image.affine if affine is None else affine, header)
    if affine is not None:
        changed.set_sform(affine, 1)
        changed.set_qform(affine, 1)
    path.unlink()
    nib.save(changed, path)


def canonical(path, change):
    """Changes a file's canonical (D, H, W) array."""
    grid = nifti.read_grid(path)
    rewrite(path, lambda array: grid.from_canonical(change(grid.to_canonical(array).copy())))


def mirror(folder, axis):
    """The headers of image and labels place the body mirrored along one canonical axis."""
    for kind in ("volume", "segmentation"):
        canonical(folder / f"{kind}-1.nii", lambda array: np.flip(array, axis))


def set_first_voxel(value):
    def change(array):
        array[0, 0, 0] = value
        return array

    return change


def blob_outside(labels_DHW):
    """A tumour in the corner, where no liver is."""
    labels_DHW[:3, :3, :3] = 2
    return labels_DHW


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def truncate_gzip(path):
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(packed[:-1000])


def shifted_affine(path):
    affine = nib.load(path).affine.copy()
    affine[:3, 3] += 20
    return affine


def turned_affine(path):
    """The same voxels said to run the other way along the file's first axis."""
    image = nib.load(path)
    turn = np.diag([-1.0, 1, 1, 1])
    turn[0, 3] = image.shape[0] - 1
    return image.affine @ turn


def nonsense_affine(path):
    """As LiTS' segmentation-53 has one: two axes point the same way."""
    affine = nib.load(path).affine.copy()
    affine[:3, 1] = affine[:3, 0]
    return affine


def turn_voxels(path):
    """Voxels and header both turned to another orientation: a sound file that pairs with no image voxel."""
    image = nib.load(path)
    turned = image.as_reoriented([[0, -1], [2, 1], [1, 1]])
    array = np.asanyarray(turned.dataobj).copy()
    path.unlink()
    nib.save(nib.Nifti1Image(array, turned.affine, turned.header), path)


def lose_geometry(path):
    """As 3D-IRCADb's cases in LiTS: 1 mm and an identity affine, which happens to point the right way."""
    array = np.asanyarray(nib.as_closest_canonical(nib.load(path)).dataobj).copy()
    path.unlink()
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)


def set_sform(path, affine):
    """Only the sform, as a qform can't hold nonsense."""
    image = nib.load(path)
    array = np.asanyarray(image.dataobj).copy()
    path.unlink()
    changed = nib.Nifti1Image(array, None, image.header)
    changed.header["sform_code"], changed.header["qform_code"] = 1, 0
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        changed.header[name] = affine[row]
    with path.open("wb") as stream:
        header = changed.header
        header["vox_offset"] = 352
        header["magic"] = b"n+1"
        stream.write(header.binaryblock + bytes(4) + array.tobytes(order="F"))


def edit_header(path, **fields):
    """Header bytes as no library would write them."""
    data = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(data[:348]), check=False)
    for field, value in fields.items():
        header[field] = value
    path.write_bytes(header.binaryblock + data[348:])


def mirror_qform(path):
    header = nib.load(path).header
    header.set_qform(header.get_sform() @ np.diag((-1, 1, 1, 1)), 1)
    edit_header(path, **{name: header[name] for name in ("pixdim", "quatern_b", "quatern_c", "quatern_d")})


def scale_labels(path):
    """Labels 0, 127 and 254 with a slope that makes 0, 1 and 2 of them, but for rounding."""
    rewrite(path, lambda array: (array * 127).astype(np.uint8))
    edit_header(path, scl_slope=1 / 127, scl_inter=0)


def scale_to_bytes(array):
    return np.clip((array + 200) * (255 / 450), 0, 255).astype(np.uint8)


VOLUME, LABELS = "volume-1.nii", "segmentation-1.nii"
FAULTS = {
    "flipped head-feet": (lambda d: mirror(d, 0), "orientation-flipped", VOLUME),
    "flipped front-back": (lambda d: mirror(d, 1), "orientation-flipped", VOLUME),
    "flipped right-left": (lambda d: mirror(d, 2), "orientation-flipped", VOLUME),
    "label axes mixed": (
        lambda d: rewrite(d / LABELS, affine=turned_affine(d / LABELS)),
        "grid-place",
        LABELS,
    ),
    "label voxels turned": (
        lambda d: turn_voxels(d / LABELS),
        "label-axes",
        LABELS,
    ),
    "identity affine": (
        lambda d: [lose_geometry(d / name) for name in (VOLUME, LABELS)],
        "spacing-unknown",
        VOLUME,
    ),
    "nonsense affine of image": (
        lambda d: set_sform(d / VOLUME, nonsense_affine(d / VOLUME)),
        "affine",
        VOLUME,
    ),
    "nonsense affine of labels": (
        lambda d: set_sform(d / LABELS, nonsense_affine(d / LABELS)),
        "affine",
        LABELS,
    ),
    "NaN in the affine": (lambda d: set_sform(d / LABELS, np.full((3, 4), np.nan)), "affine", LABELS),
    "no orientation": (
        lambda d: edit_header(d / VOLUME, sform_code=0, qform_code=0),
        "affine",
        VOLUME,
    ),
    "mirrored qform": (lambda d: mirror_qform(d / VOLUME), "sform-qform", VOLUME),
    "mirrored qform of labels": (lambda d: mirror_qform(d / LABELS), "affine", LABELS),
    "zero voxel size": (
        lambda d: edit_header(d / VOLUME, qform_code=0, pixdim=np.zeros(8)),
        "affine",
        VOLUME,
    ),
    "another voxel size": (
        lambda d: edit_header(d / VOLUME, qform_code=0, pixdim=np.full(8, 3)),
        "affine",
        VOLUME,
    ),
    "no number in the labels' header": (
        lambda d: edit_header(d / LABELS, pixdim=np.full(8, np.nan), srow_x=np.full(4, np.nan)),
        "affine",
        LABELS,
    ),
    "label grid elsewhere": (
        lambda d: rewrite(d / LABELS, affine=shifted_affine(d / LABELS)),
        "grid-place",
        LABELS,
    ),
    "label of another shape": (
        lambda d: rewrite(d / LABELS, lambda array: array[:-1]),
        "grid-shape",
        LABELS,
    ),
    "label two slices up": (
        lambda d: canonical(d / LABELS, lambda array: np.roll(array, 2, 0)),
        "label-shifted",
        LABELS,
    ),
    "label three slices down": (
        lambda d: canonical(d / LABELS, lambda array: np.roll(array, -3, 0)),
        "label-shifted",
        LABELS,
    ),
    "label 3": (lambda d: rewrite(d / LABELS, set_first_voxel(3)), "label-values", LABELS),
    "half a label": (
        lambda d: rewrite(d / LABELS, lambda array: array.astype(np.float32) * 0.5),
        "label-values",
        LABELS,
    ),
    "labels a little off": (
        lambda d: rewrite(d / LABELS, lambda array: (array * 0.9997).astype(np.float32)),
        "label-float",
        LABELS,
    ),
    "labels scaled to 8 bits": (lambda d: scale_labels(d / LABELS), "label-float", LABELS),
    "labels too far off": (
        lambda d: rewrite(d / LABELS, lambda array: (array * 0.998).astype(np.float32)),
        "label-values",
        LABELS,
    ),
    "float labels": (
        lambda d: rewrite(d / LABELS, lambda array: array.astype(np.float32)),
        "label-float",
        LABELS,
    ),
    "NaN label": (
        lambda d: rewrite(d / LABELS, lambda array: set_first_voxel(np.nan)(array.astype(np.float32))),
        "nan",
        LABELS,
    ),
    "HU out of range": (lambda d: rewrite(d / VOLUME, set_first_voxel(-3024)), "hu-range", VOLUME),
    "windowed": (
        lambda d: rewrite(d / VOLUME, lambda array: np.clip(array, -200, 250)),
        "hu-windowed",
        VOLUME,
    ),
    "windowed above only": (
        lambda d: rewrite(d / VOLUME, lambda array: np.minimum(array, 150)),
        "hu-windowed",
        VOLUME,
    ),
    "scaled to one": (
        lambda d: rewrite(d / VOLUME, lambda array: ((array + 1024) / 4096).astype(np.float32)),
        "hu-scale",
        VOLUME,
    ),
    "metal": (
        lambda d: rewrite(d / VOLUME, lambda array: set_first_voxel(60000)(array.astype(np.int32))),
        "hu-range",
        VOLUME,
    ),
    "scaled to bytes": (lambda d: rewrite(d / VOLUME, scale_to_bytes), "hu-scale", VOLUME),
    "intercept lost": (lambda d: rewrite(d / VOLUME, lambda array: array + 1024), "hu-scale", VOLUME),
    "one value": (lambda d: rewrite(d / VOLUME, np.zeros_like), "image-constant", VOLUME),
    "NaN": (
        lambda d: rewrite(d / VOLUME, lambda array: set_first_voxel(np.nan)(array.astype(np.float32))),
        "nan",
        VOLUME,
    ),
    "truncated": (lambda d: truncate(d / VOLUME), "unreadable", VOLUME),
    "truncated labels": (lambda d: truncate(d / LABELS), "unreadable", LABELS),
    "truncated gzip": (lambda d: truncate_gzip(d / VOLUME), "unreadable", VOLUME + ".gz"),
    "duplicate": (
        lambda d: [
            shutil.copy(d / f"{kind}-1.nii", d / f"{kind}-9.nii") for kind in ("volume", "segmentation")
        ],
        "duplicate",
        "volume-9.nii",
    ),
    "duplicate turned and packed": (
        lambda d: [
            nib.save(
                nib.as_closest_canonical(nib.load(d / f"{kind}-1.nii")).slicer[:, :, :],
                d / f"{kind}-9.nii.gz",
            )
            for kind in ("volume", "segmentation")
        ],
        "duplicate",
        "volume-9.nii.gz",
    ),
    "empty liver": (lambda d: rewrite(d / LABELS, np.zeros_like), "label-empty", LABELS),
    "tumour outside liver": (lambda d: canonical(d / LABELS, blob_outside), "tumour-outside", LABELS),
    "no labels": (lambda d: (d / LABELS).unlink(), "label-missing", VOLUME),
}
