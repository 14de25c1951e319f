"""What nnU-Net's planner chooses for a folder of labelled scans, as JSON.

    python nnunet_plans.py DATA OUT.json

It runs in an environment of its own (torch, nnunetv2) and knows nothing of this project. DATA is a folder of
the Decathlon with one channel, or one with LiTS' names. Fingerprint and plans are nnU-Net's own, by its
default planner, for a card of 8 GB; nothing is preprocessed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

_LITS_LABELS = {"background": 0, "liver": 1, "tumour": 2}
_NAME = "Dataset001_Task"


def main(data: Path, out: Path) -> None:
    """Links the scans into nnU-Net's layout, plans, and writes what it chose."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for kind in ("raw", "preprocessed", "results"):
            os.environ[f"nnUNet_{kind}"] = str(work / kind)
            (work / kind).mkdir()
        write_raw(work / "raw" / _NAME, data)

        from importlib import metadata

        from nnunetv2.experiment_planning import plan_and_preprocess_api as planning

        planning.extract_fingerprints([1], num_processes=1, show_progress_bar=False)
        planning.plan_experiments([1])
        of_task = work / "preprocessed" / _NAME
        plans = json.loads((of_task / "nnUNetPlans.json").read_text())
        fingerprint = json.loads((of_task / "dataset_fingerprint.json").read_text())
    chosen = {
        "nnunetv2": metadata.version("nnunetv2"),
        "cases": len(fingerprint["spacings"]),
        "median_shape": plans["original_median_shape_after_transp"],
        "median_spacing_mm": plans["original_median_spacing_after_transp"],
        "foreground": fingerprint["foreground_intensity_properties_per_channel"],
        "configurations": plans["configurations"],
    }
    out.write_text(json.dumps(chosen, indent=2) + "\n")


def write_raw(folder: Path, data: Path) -> None:
    """The cases in nnU-Net's layout, as links, and its dataset.json."""
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
    if (data / "dataset.json").is_file():
        source = json.loads((data / "dataset.json").read_text())
        channels = source["modality"]
        labels = {name if int(n) else "background": int(n) for n, name in source["labels"].items()}
        pairs = {
            path.name.removesuffix(".nii.gz"): (data / "imagesTr" / path.name, path)
            for path in sorted((data / "labelsTr").glob("[!.]*.nii.gz"))
        }
    else:
        channels, labels = {"0": "CT"}, _LITS_LABELS
        pairs = {
            path.name.removesuffix(".nii.gz"): (
                path,
                path.with_name(path.name.replace("volume", "segmentation")),
            )
            for path in sorted(data.glob("volume-*.nii.gz"))
        }
    for case, (image, label) in pairs.items():
        (folder / "imagesTr" / f"{case}_0000.nii.gz").symlink_to(image.resolve())
        (folder / "labelsTr" / f"{case}.nii.gz").symlink_to(label.resolve())
    described = {
        "channel_names": channels,
        "labels": labels,
        "numTraining": len(pairs),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(described))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
