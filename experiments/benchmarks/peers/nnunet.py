"""nnU-Net on one fold of a data set, for a number of seconds of wall time.

    python nnunet.py JOB

It runs in an environment of its own (torch, nnunetv2) and knows nothing of this project. JOB is the same as
that of monai_unet.py. Fingerprint, plans, preprocessing, network, augmentation, loss, optimiser and
prediction are nnU-Net's own; of its trainer only the loop is replaced: its polynomial schedule is gone
through in the time that there is, and no step is spent on validation. The test cases are predicted with its
mirroring where that leaves three quarters of the time for training, otherwise without.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOM = 1.3
MIRRORED, MOST_SHARE = 8, 0.25
POWER = 0.9


def main(job_path: str, started: float) -> None:
    """Prepares, trains, predicts the test cases, and prints the number of steps as JSON."""
    job = json.loads(Path(job_path).read_text())
    work = Path(job["output"]).with_name("nnunet")
    for kind in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{kind}"] = str(work / kind)
        (work / kind).mkdir(parents=True)
    os.environ.update({"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f"})
    name = "Dataset001_Task"
    described = write_raw(work / "raw" / name, job)

    import numpy as np
    import torch
    from nnunetv2.experiment_planning import plan_and_preprocess_api as planning
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002  It draws its patches from there.
    planning.extract_fingerprints([1], num_processes=1, show_progress_bar=False)
    planning.plan_experiments([1])
    planning.preprocess([1], configurations=("3d_fullres",), num_processes=(1,), show_progress_bar=False)
    # From here on all of it in this process; the planner wants a thread.
    os.environ.update({"nnUNet_n_proc_DA": "0"})
    plans = json.loads((work / "preprocessed" / name / "nnUNetPlans.json").read_text())
    trainer = nnUNetTrainer(
        {**plans, "continue_training": False}, "3d_fullres", "all", described, torch.device("cpu")
    )
    trainer.on_train_start()
    patch = trainer.configuration_manager.patch_size
    image = torch.zeros((1, trainer.num_input_channels, *patch))
    trainer.network.eval()
    with torch.inference_mode():
        trainer.network(image)
        before = time.time()
        trainer.network(image)
    one = ROOM * (time.time() - before) * len(job["test"])
    mirror = MIRRORED * one <= MOST_SHARE * job["seconds"]
    steps = train(trainer, started + job["seconds"] - (MIRRORED if mirror else 1) * one)
    predict(trainer, job, work / "raw" / name / "imagesTs", described, mirror)
    parameters = sum(p.numel() for p in trainer.network.parameters())
    print(json.dumps({"steps": steps, "parameters": parameters, "mirrored": mirror}))


def write_raw(folder: Path, job: dict) -> dict:
    """The cases in nnU-Net's layout, training ones and those to predict; returns its dataset.json."""
    of_all = [path for case in job["cases"].values() for path in (*case["images"], case["labels"])]
    # All files of a data set have one ending. What has another one, or holds several channels, is converted.
    ending = ".nii" if all(path.endswith(".nii") for path in of_all) else ".nii.gz"
    for part, images in (("train", folder / "imagesTr"), ("test", folder / "imagesTs")):
        images.mkdir(parents=True)
        for name in job[part]:
            paths = job["cases"][name]["images"]
            for number in range(len(job["channels"])):
                source = paths[number] if len(paths) > 1 else paths[0]
                place(source, images / f"{name}_{number:04d}{ending}", number)
    (folder / "labelsTr").mkdir()
    for name in job["train"]:
        place(job["cases"][name]["labels"], folder / "labelsTr" / f"{name}{ending}")
    described = {
        "channel_names": {str(number): name for number, name in enumerate(job["channels"])},
        "labels": {name if number else "background": number for number, name in enumerate(job["classes"])},
        "numTraining": len(job["train"]),
        "file_ending": ending,
    }
    (folder / "dataset.json").write_text(json.dumps(described))
    return described


def place(source: str, path: Path, channel: int = 0) -> None:
    """A volume under another name: a link, or a file of its own: one channel, or compressed anew."""
    import nibabel

    image: Any = nibabel.load(source)
    if image.ndim == 3 and source.endswith(".gz") == path.name.endswith(".gz"):
        path.symlink_to(source)
        return
    voxels = image.dataobj[..., channel] if image.ndim > 3 else image.dataobj[...]
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), path)


def train(trainer: Any, end: float) -> int:
    """Steps of nnU-Net's trainer until the time is over; returns how many."""
    begun, steps = time.time(), 0
    trainer.network.train()
    while (share := (time.time() - begun) / max(end - begun, 1.0)) < 1:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - share) ** POWER
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
    return steps


def predict(trainer: Any, job: dict, images: Path, described: dict, mirror: bool) -> None:
    """Writes the labels of every test case on its own grid."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(
        use_mirroring=mirror, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        described,
        "nnUNetTrainer",
        trainer.inference_allowed_mirroring_axes,
    )
    output = Path(job["output"])
    output.mkdir(parents=True, exist_ok=True)
    reader = trainer.plans_manager.image_reader_writer_class()
    for case in job["test"]:
        channels = [
            str(images / f"{case}_{number:04d}{described['file_ending']}")
            for number in range(len(job["channels"]))
        ]
        image, properties = reader.read_images(channels)
        name = job["cases"][case]["output"]
        predictor.predict_single_npy_array(image, properties, None, str(output / name))


if __name__ == "__main__":
    beginning = time.time() - time.process_time()
    main(sys.argv[1], beginning)
