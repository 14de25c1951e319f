"""One real CT with labels that anyone can get: LiTS case 117, cropped to the liver.

It ships inside a package on PyPI, of which only the archive is read: it is never imported or
installed. The scan is from LiTS (Bilic et al., "The Liver Tumor Segmentation Benchmark (LiTS)"), whose
data are licensed CC BY-NC-SA 4.0 (CC BY-NC-ND by other copies of it): for research, not for sale, and
not to be passed on with this project.

What is in the archive, by looking: 128 x 128 x 128 voxels, float32 in Hounsfield units (air -1000,
liver 118, tumour 70, range -1063 to 1877: portal venous phase), already resampled. The first index
grows towards the patient's left, the second towards the back (the spine is at its end), the third
towards the head (lung and heart are at its end), so the axes are "LPS" and the third is axial. No
spacing is stored; a lumbar vertebra is some 45 voxels wide and 25 to 30 high, so 1 mm is near the
truth, and 1 mm is what is written.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti

PACKAGE = "liver-ct-segmentation-package==1.6.0"
WHEEL_SHA256 = "67ffa526d8500ce5e3d9f2c96c1690543d811d352d93d531301d35791b9d6bba"
ATTRIBUTION = "LiTS case 117 (Bilic et al., The Liver Tumor Segmentation Benchmark), CC BY-NC-SA 4.0"

_MEMBERS: dict[str, tuple[str, np.dtype[Any]]] = {
    "image": ("liver_ct_segmentation_package/data/img_117.mrc", np.dtype("<f4")),
    "labels": ("liver_ct_segmentation_package/data/lab_117.mrc", np.dtype("<u2")),
}
_SIDE = 128
_MRC_HEADER_BYTES = 1024
_AXCODES = "LPS"

# Axial slices, from the feet up. Validation lies between the other two: no slice is in two parts.
SLABS = {"training": (0, 64), "validation": (64, 80), "held_out": (80, 128)}
# LiTS names hold a number only: 117, and which part of it.
_NUMBERS = {"training": 1171, "validation": 1172, "held_out": 1173}


@dataclasses.dataclass(frozen=True)
class Sample:
    """Where the sample's parts are, each a case in LiTS layout.

    Attributes:
        development: folder with volume-1171 (training, slices 0 to 63) and volume-1172 (validation,
            64 to 79), and their segmentations.
        held_out: folder with volume-1173 (slices 80 to 127) and its segmentation.
        training, validation, test: names of the three cases.
    """

    development: Path
    held_out: Path
    training: str = f"volume-{_NUMBERS['training']}"
    validation: str = f"volume-{_NUMBERS['validation']}"
    test: str = f"volume-{_NUMBERS['held_out']}"


def fetch_sample(out_dir: str | os.PathLike[str]) -> Sample:
    """Downloads the sample by pip and writes its three slabs as NIfTI; what is there is kept.

    Args:
        out_dir: gets the folders `development` and `held_out`.

    Returns:
        Where everything is.

    Raises:
        InputError: pip cannot get the package, or gets another one than expected.
    """
    out = Path(out_dir)
    sample = Sample(out / "development", out / "held_out")
    paths = {part: _paths(sample, part) for part in SLABS}
    if all(path.is_file() for pair in paths.values() for path in pair):
        return sample
    with tempfile.TemporaryDirectory() as folder:
        image_DHW, labels_DHW = read_wheel(_download(Path(folder)))
    for part, (first, end) in SLABS.items():
        image_path, labels_path = paths[part]
        nifti.write_new(image_path, image_DHW[first:end], (1.0, 1.0, 1.0), _AXCODES)
        nifti.write_new(labels_path, labels_DHW[first:end], (1.0, 1.0, 1.0), _AXCODES)
    return sample


def read_wheel(wheel: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Reads image and labels out of the package's archive.

    Returns:
        Canonical (128, 128, 128) arrays: int16 Hounsfield units, uint8 labels.

    Raises:
        InputError: not the archive that is known, by its SHA-256.
    """
    found = files.sha256(wheel)
    if found != WHEEL_SHA256:
        raise InputError(
            wheel,
            found=f"SHA-256 {found}",
            expected=WHEEL_SHA256,
            fix=f"download {PACKAGE} again from PyPI; another file under that name is not to be trusted",
        )
    arrays = {}
    with zipfile.ZipFile(wheel) as archive:
        for kind, (member, dtype) in _MEMBERS.items():
            stored = np.frombuffer(archive.read(member), dtype, offset=_MRC_HEADER_BYTES)
            # From (left, back, head) to (head, front, right).
            arrays[kind] = stored.reshape(_SIDE, _SIDE, _SIDE).transpose(2, 1, 0)[:, ::-1, ::-1]
    return np.rint(arrays["image"]).astype(np.int16), arrays["labels"].astype(np.uint8)


def _paths(sample: Sample, part: str) -> tuple[Path, Path]:
    folder = sample.held_out if part == "held_out" else sample.development
    number = _NUMBERS[part]
    return folder / f"volume-{number}.nii", folder / f"segmentation-{number}.nii"


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", f"--dest={folder}", PACKAGE]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(
            PACKAGE,
            found=f"pip could not download it: {reason}",
            expected="the sample's archive",
            fix="check the network or the package index; phantoms (experiments.make_phantoms) do without",
        )
    return wheels[0]
