"""Folders of empty files with the names that people really use."""

import os
import re

# Each is the name of an image and of its labels in Decathlon layout; one has bytes that are no UTF-8.
ODD_STEMS = (
    "liver_1",
    "liver 2",
    "_liver_3",
    "\u00c4_4",
    "O\u0308_5",
    "liver+5",
    "Case(1)",
    "a,b;c=d",
    "-x",
    "%20",
    'it\'s "quoted"',
    "\u809d\u81df",
    "x.y.z",
    "M\udcfcller",
    "case_0007",
    "volume-12",
)
_SCANS = re.compile(r"(?si).+\.(nii.*|mha|mhd|nrrd|nhdr|dcm|dicom|ima|hdr|img|mgz)(\.gz)?")


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def looks_like_a_scan(path):
    """As a user would say, by the name of what is a file or a link that leads nowhere."""
    return bool(_SCANS.fullmatch(path.name)) and not path.is_dir()


def odd_tree(root):
    """LiTS, Decathlon and nnU-Net names, links, other formats and litter; returns data and predictions."""
    root, predictions, store = (root / name for name in ("data", "predictions", "store"))
    for stem in ODD_STEMS:
        touch(root / "msd/imagesTr" / f"{stem}.nii.gz", root / "msd/labelsTr" / f"{stem}.nii.gz")
    touch(root / "nnu/imagesTr/nnu_case_0000.nii.gz", root / "nnu/imagesTr/nnu_case_0001.nii.gz")
    touch(root / "nnu/labelsTr/nnu_case.nii.gz")
    touch(root / "msd/imagesTr/upper.NII.GZ", root / "msd/labelsTr/upper.Nii")
    for name in ("volume-0.nii", "segmentation-0.nii", "test-volume-0.nii.gz", "patient x.nii"):
        touch(root / name)
    touch(root / "batch/volume-007.nii", root / "batch/segmentation-7.nii.gz")
    touch(root / "batch/segmentation-99.nii", root / "batch/a ct.nii.gz")
    for name in (
        "a.mha",
        "b.nrrd",
        "c.DCM",
        "d.hdr",
        "d.img",
        "volume-3.nii.gz.part",
        "volume-4.nii.old",
    ):
        touch(root / "other" / name)
    for name in (".volume-0.nii", "._volume-0.nii.gz", ".trash/volume-1.nii"):
        touch(root / name)
    touch(store / "volume-8.nii", store / "segmentation-8.nii")
    for name in ("volume-8.nii", "segmentation-8.nii"):
        (root / "batch" / name).symlink_to(store / name)
    (root / "again").symlink_to(root / "batch")
    (root / "loop").symlink_to(root)
    (root / "volume-9.nii").symlink_to(root / "nowhere.nii")
    os.mkfifo(root / "pipe.nii")
    labels = [path for path in root.rglob("*") if "labelsTr" in path.parts or "segmentation" in path.name]
    for path in [path for path in labels if path.is_file()]:
        touch(predictions / path.name)
    touch(predictions / "a ct.nii", predictions / "patient x.nii.gz")
    touch(predictions / "of nobody.nii", predictions / ".records/segmentation-0.json")
    return root, predictions
