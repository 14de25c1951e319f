"""A plain MONAI UNet on one fold of a Decathlon task, for a number of seconds of wall time.

    python monai_unet.py JOB

It runs in an environment of its own (torch, monai, nibabel) and knows nothing of this project. JOB is a JSON
file: `data` (the task's folder), `train` and `test` (names of cases), `output` (a folder for label volumes),
`seconds` (for everything, the start of Python included), `seed`, and `patch`.

The recipe is that of MONAI's own tutorials for such tasks: a UNet of residual units with instance norm, Dice
and cross-entropy, AdamW with a polynomial schedule that ends with the time, rotation and scaling.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    RandAffined,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSpatialCropd,
    SpatialPadd,
)

BOTH = ("image", "label")
RATE, DECAY, POWER = 1e-3, 1e-5, 0.9
# Of the seconds that predicting the test cases is expected to take, which are kept for it.
ROOM = 1.3


def main(job_path: str, started: float) -> None:
    """Trains, predicts the test cases, and prints the number of steps as JSON."""
    job = json.loads(Path(job_path).read_text())
    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    labels = json.loads((Path(job["data"]) / "dataset.json").read_text())["labels"]
    network = UNet(3, 1, len(labels), (32, 64, 128, 256), (2, 2, 2), num_res_units=2, norm="instance")
    # The time of one case, of a second call: the first one takes longer.
    predict(network, {**job, "test": job["test"][:1]})
    before = time.time()
    predict(network, {**job, "test": job["test"][:1]})
    end = started + job["seconds"] - ROOM * (time.time() - before) * len(job["test"])
    network.train()
    steps = train(network, job, end)
    predict(network, job)
    print(json.dumps({"steps": steps, "parameters": sum(p.numel() for p in network.parameters())}))


def files_of(job: dict, name: str) -> dict[str, str]:
    """Image and labels of a case."""
    return {
        kind: str(Path(job["data"]) / folder / f"{name}.nii.gz")
        for kind, folder in zip(BOTH, ("imagesTr", "labelsTr"))
    }


def train(network: torch.nn.Module, job: dict, end: float) -> int:
    """Steps on batches of four patches until the time is over; returns how many."""
    begun = time.time()
    fixed = [
        LoadImaged(BOTH),
        EnsureChannelFirstd(BOTH),
        NormalizeIntensityd("image"),
        SpatialPadd(BOTH, job["patch"]),
    ]
    drawn = [
        RandAffined(
            BOTH, prob=0.5, rotate_range=(0.26,) * 3, scale_range=(0.15,) * 3, mode=("bilinear", "nearest")
        ),
        RandSpatialCropd(BOTH, job["patch"], random_size=False),
        RandScaleIntensityd("image", 0.1, prob=0.5),
        RandShiftIntensityd("image", 0.1, prob=0.5),
    ]
    cases = [files_of(job, name) for name in job["train"]]
    data = CacheDataset(cases, Compose(fixed + drawn), progress=False)
    loader = DataLoader(data, batch_size=4, shuffle=True, num_workers=0)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = 0
    while True:
        for batch in loader:
            share = (time.time() - begun) / max(end - begun, 1.0)
            if share >= 1:
                return steps
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 - share) ** POWER
            optimizer.zero_grad()
            loss(network(batch["image"].as_tensor()), batch["label"].as_tensor()).backward()
            optimizer.step()
            steps += 1


def predict(network: torch.nn.Module, job: dict) -> None:
    """Writes the labels of every test case on its own grid."""
    network.eval()
    output = Path(job["output"])
    output.mkdir(parents=True, exist_ok=True)
    read = Compose([LoadImaged("image"), EnsureChannelFirstd("image"), NormalizeIntensityd("image")])
    with torch.inference_mode():
        for name in job["test"]:
            image = files_of(job, name)["image"]
            logits = sliding_window_inference(
                read({"image": image})["image"].as_tensor()[None],
                job["patch"],
                1,
                network,
                overlap=0.5,
                mode="gaussian",
            )
            labels = logits.argmax(1)[0].numpy().astype(np.uint8)
            nibabel.save(
                nibabel.Nifti1Image(labels, nibabel.Nifti1Image.from_filename(image).affine),
                output / f"{name}.nii.gz",
            )


if __name__ == "__main__":
    main(sys.argv[1], time.time() - time.process_time())
