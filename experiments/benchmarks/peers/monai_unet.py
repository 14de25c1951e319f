"""A plain MONAI UNet on one fold of a data set, for a number of seconds of wall time.

    python monai_unet.py JOB

It runs in an environment of its own (torch, monai, nibabel) and knows nothing of this project. JOB is a JSON
file: `cases` (by name the paths of `images`, a file or one for each channel, and of `labels`, and the name of
its `output`), `classes` and `channels` (names), `windows` (of intensities, for each channel; null: none),
`train` and `test` (names of cases), `output` (a folder for label volumes), `seconds` (for everything, the
start of Python included) and `seed`.

The recipe is that of MONAI's own tutorials for such tasks: a UNet of residual units with instance norm, Dice
and cross-entropy, AdamW with a polynomial schedule that ends with the time, rotation and scaling. Patches
are of 96^3 voxels at most, half of them centred on a class where images are larger.
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
    RandCropByPosNegLabeld,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSpatialCropd,
    ScaleIntensityRanged,
    SpatialPadd,
)

BOTH = ("image", "label")
RATE, DECAY, POWER = 1e-3, 1e-5, 0.9
# Of the seconds that predicting the test cases is expected to take, which are kept for it.
ROOM = 1.3
# Sides of a patch: a multiple of the network's stride.
STRIDE, LONGEST = 8, 96
# Of prepared images and labels, which are 4 bytes a voxel each.
CACHED_BYTES = 8e9


def main(job_path: str, started: float) -> None:
    """Trains, predicts the test cases, and prints the number of steps as JSON."""
    job = json.loads(Path(job_path).read_text())
    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    images = [nibabel.Nifti1Image.from_filename(first_image(job, name)) for name in job["train"]]
    sizes = np.array([image.shape[:3] for image in images])
    # Holds most of an image whole, if it can.
    middle = np.median(sizes, axis=0)
    job["patch"] = [int(min(STRIDE * np.ceil(side / STRIDE), LONGEST)) for side in middle]
    job["larger"] = bool((middle > LONGEST).any())
    job["cached"] = int(CACHED_BYTES / (4 * (1 + len(job["channels"])) * middle.prod()))
    channels, classes = len(job["channels"]), len(job["classes"])
    network = UNet(3, channels, classes, (32, 64, 128, 256), (2, 2, 2), num_res_units=2, norm="instance")
    # The time of one case, of a second call: the first one takes longer.
    predict(network, {**job, "test": job["test"][:1]})
    before = time.time()
    predict(network, {**job, "test": job["test"][:1]})
    end = started + job["seconds"] - ROOM * (time.time() - before) * len(job["test"])
    network.train()
    steps = train(network, job, end)
    predict(network, job)
    print(json.dumps({"steps": steps, "parameters": sum(p.numel() for p in network.parameters())}))


def first_image(job: dict, name: str) -> str:
    """The first file of a case's image, which all channels have the grid of."""
    return job["cases"][name]["images"][0]


def files_of(job: dict, name: str) -> dict[str, str | list[str]]:
    """Image and labels of a case; files of several channels are stacked."""
    images = job["cases"][name]["images"]
    return {"image": images if len(images) > 1 else images[0], "label": job["cases"][name]["labels"]}


def normalise(job: dict) -> NormalizeIntensityd | ScaleIntensityRanged:
    """A window where the one channel has one, as for CT; otherwise each channel's mean and deviation."""
    window = job["windows"][0] if len(job["windows"]) == 1 else None
    if window:
        return ScaleIntensityRanged("image", *window, -1.0, 1.0, clip=True)
    return NormalizeIntensityd("image", channel_wise=True)


def crop(job: dict) -> RandSpatialCropd | RandCropByPosNegLabeld:
    """Where a patch is taken."""
    if job["larger"]:
        return RandCropByPosNegLabeld(BOTH, "label", job["patch"], pos=1, neg=1, num_samples=1)
    return RandSpatialCropd(BOTH, job["patch"], random_size=False)


def train(network: torch.nn.Module, job: dict, end: float) -> int:
    """Steps on batches of four patches until the time is over; returns how many."""
    begun = time.time()
    fixed = [
        LoadImaged(BOTH),
        EnsureChannelFirstd(BOTH),
        normalise(job),
        SpatialPadd(BOTH, job["patch"]),
    ]
    turned = RandAffined(
        BOTH, prob=0.5, rotate_range=(0.26,) * 3, scale_range=(0.15,) * 3, mode=("bilinear", "nearest")
    )
    drawn = [
        # Turning a whole CT takes seconds.
        *((crop(job), turned) if job["larger"] else (turned, crop(job))),
        RandScaleIntensityd("image", 0.1, prob=0.5),
        RandShiftIntensityd("image", 0.1, prob=0.5),
    ]
    cases = [files_of(job, name) for name in job["train"]]
    data = CacheDataset(cases, Compose(fixed + drawn), cache_num=job["cached"], progress=False)
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
    read = Compose([LoadImaged("image"), EnsureChannelFirstd("image"), normalise(job)])
    with torch.inference_mode():
        for name in job["test"]:
            image = files_of(job, name)["image"]
            grid = nibabel.Nifti1Image.from_filename(first_image(job, name))
            logits = sliding_window_inference(
                read({"image": image})["image"].as_tensor()[None],
                job["patch"],
                1,
                network,
                overlap=0.5,
                mode="gaussian",
            )
            labels = logits.argmax(1)[0].numpy().astype(np.uint8)
            path = output / f"{job['cases'][name]['output']}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(labels, grid.affine), path)


if __name__ == "__main__":
    main(sys.argv[1], time.time() - time.process_time())
