"""Peers are given any layout's cases, and nnU-Net's folder is made of them."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from configs.decathlon import HIPPOCAMPUS
from dsdenseunet.core import files
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.tasks.task import Task
from experiments.benchmarks.peers import cases, contenders, nnunet
from experiments.benchmarks.peers.budget import Budget
from experiments.benchmarks.peers.contenders import Heat

TWO = Task.of({**HIPPOCAMPUS.to_config(), "channels": (("T1", "zscore"), ("T2", "zscore"))})
LITS = ("volume-0.nii", "segmentation-0.nii", "volume-1.nii", "segmentation-1.nii")
NNUNET = tuple(f"{f}/{n}.nii.gz" for n in "ab" for f in ("imagesTr", "labelsTr"))
SPLIT = ("imagesTr/a_0000.nii", "imagesTr/a_0001.nii", "labelsTr/a.nii.gz", *NNUNET[2:])


def write(folder: Path, names: tuple[str, ...], channels: int) -> None:
    """Zeros; images of several channels in one file have the value 1 in the first, 2 in the second."""
    for name in names:
        voxels = np.zeros((4, 6, 8), np.uint8)
        if channels > 1 and "labels" not in name and "_00" not in name:
            voxels = voxels[..., None] + np.arange(1, 1 + channels, dtype=np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / name)


@pytest.mark.parametrize(
    ("task", "names", "ending", "linked"),
    [
        (TASK, LITS, ".nii", True),
        (TASK, ("volume-0.nii.gz", *LITS[1:]), ".nii.gz", False),
        (HIPPOCAMPUS, NNUNET, ".nii.gz", True),
        (TWO, NNUNET, ".nii.gz", False),
        (TWO, SPLIT, ".nii.gz", False),
    ],
)
def test_a_folder_as_nnunet_has_it(tmp_path, task, names, ending, linked):
    data, raw = tmp_path / "data", tmp_path / "raw"
    write(data, names, len(task.channels))
    known = cases.labelled(data, task)
    first, second = known
    heat = Heat(data, known, (first,), (second,), Budget(9, "s"), 0, tmp_path, lambda: 9.0)
    next(contenders.nnunet("python", task).commands(heat))
    job = files.read_json(tmp_path / "job.json")
    assert [case["output"] for case in job["cases"].values()] == (
        ["segmentation-0", "segmentation-1"] if task is TASK else ["a", "b"]
    )
    assert job["windows"][0] == ([-200.0, 250.0] if task is TASK else None)
    described = nnunet.write_raw(raw, job)
    assert described["file_ending"] == ending
    assert described["labels"] == {name: number for number, name in enumerate(task.classes)}
    expected = [f"labelsTr/{first}{ending}"]
    for folder, name in (("imagesTr", first), ("imagesTs", second)):
        expected += [f"{folder}/{name}_{channel:04d}{ending}" for channel in range(len(task.channels))]
    found = list(raw.rglob("*.nii*"))
    assert sorted(path.relative_to(raw).as_posix() for path in found) == sorted(expected)
    assert all(nibabel.load(path).shape == (4, 6, 8) for path in found)
    if linked:
        assert all(path.is_symlink() for path in found)
    if task is TWO:
        images = [nibabel.load(raw / "imagesTs" / f"b_000{channel}{ending}") for channel in (0, 1)]
        assert [image.get_fdata().max() for image in images] == [1, 2]
