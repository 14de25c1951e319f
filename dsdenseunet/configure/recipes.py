"""Which network suits the data, with the recipe that it is trained by, and the patches that it may have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from dsdenseunet.configure import training_choices as training
from dsdenseunet.configure.choice import Choice, Patch
from dsdenseunet.configure.choices import THICK, holds_nearly_all
from dsdenseunet.core.words import by
from dsdenseunet.data.fingerprint.data_fingerprint import Fingerprint

# Images of so many voxels are small crops, of which one patch holds nearly all.
_SMALL = 64**3
# Of nnU-Net's U-Net: channels of the stages, voxels of the coarsest map's sides, sides beyond which more
# stages are not worth it.
_WIDTHS = (32, 64, 128, 256, 320, 320)
_COARSEST, _DEEPEST = 4, 128
# The paper's plane, and smaller ones.
_PLANES = (224, 160, 96, 32)
# Nothing here was tried with larger patches: nnU-Net's largest preset has 192^3 voxels and a little more.
_MOST_VOXELS = 192**3
# Slices of the paper's patch, and what is tried around it.
_SLICES = (32, 24, 16, 12, 8, 4)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A network and how it is trained.

    Attributes:
        network: `model`, and why this family.
        training: loss, optimiser, augmentation and length.
        patches: to choose from, the most useful first.
        enough: voxels of a patch for which no arithmetic is traded; what is taken where memory is not known.
        batch: patches of an update.
        grows: whether more patches are taken where the first patch leaves room for them.
        halves: whether activations are bfloat16 on cards that compute faster with it.
    """

    network: Choice
    training: tuple[Choice, ...]
    patches: tuple[Patch, ...]
    enough: int
    batch: int
    grows: bool
    halves: bool


def recipe_for(fingerprint: Fingerprint) -> Recipe:
    """The network by what is known: small crops, thick slices, or neither."""
    shape, spacing = fingerprint.median_shape, fingerprint.median_spacing_mm
    if math.prod(shape) <= _SMALL and min(shape) >= 4:
        return _crops(fingerprint)
    if spacing[0] >= THICK * max(spacing[1:]):
        return _slabs(fingerprint)
    return _cubes(fingerprint)


def _common(fingerprint: Fingerprint, family: str) -> dict[str, Any]:
    task = fingerprint.task
    return {"family": family, "in_channels": len(task.channels), "num_classes": len(task.classes)}


def _crops(fingerprint: Fingerprint) -> Recipe:
    """configs/decathlon.py's, which was measured on the hippocampus."""
    shape = fingerprint.median_shape
    # Multiples of 16 as there; of the network's stride where an image is smaller.
    patch = _as_patch([side // 16 * 16 or side // 4 * 4 for side in shape])
    foreground = 1 - fingerprint.class_shares[0]
    network = Choice(
        "network",
        {
            "model": {
                **_common(fingerprint, "separable_unet"),
                "widths": (24, 96),
                "encoder_blocks": (0, 5),
                "decoder_blocks": (1,),
                "expansion": 2,
                "image_link": True,
                "places": holds_nearly_all(fingerprint, patch),
                "norm_epsilon": 1e-5,
                "foreground_share": float(f"{min(max(foreground, 1e-4), 0.9):.2g}"),
                "dtype": "float32",
                "remat": "none",
                "auxiliary_outputs": 0,
            }
        },
        f"The median image has {by(shape)} voxels, a small crop. Of all networks here this one "
        "was measured best on such images: on the Decathlon's hippocampus it was ahead of MONAI's UNet after "
        "equal time on one core (docs/results/comparison_hippocampus.json). config.model.places tells it "
        "where in the patch a voxel lies, which is for patches that hold nearly all of an image; "
        "foreground_share is the data's.",
    )
    return Recipe(
        network,
        (training.loss(fingerprint), *training.of_crops()),
        patches=(patch,),
        enough=math.prod(patch),
        batch=1,
        grows=False,
        halves=False,
    )


def _cubes(fingerprint: Fingerprint) -> Recipe:
    """nnU-Net's network and training, a quarter as long."""
    shape = fingerprint.median_shape
    stages = 1 + max(1, min(len(_WIDTHS) - 1, *(_halvings(side) for side in shape)))
    auxiliary = max(0, stages - 3)
    stride = 2 ** (stages - 1)
    network = Choice(
        "network",
        {
            "model": {
                **_common(fingerprint, "unet"),
                "widths": _WIDTHS[:stages],
                "encoder_convs": (2,) * stages,
                "decoder_convs": (2,) * (stages - 1),
                "norm_epsilon": 1e-5,
                "dtype": "float32",
                "remat": "none",
                "auxiliary_outputs": auxiliary,
            }
        },
        f"Volumes of {by(shape)} voxels without thick slices: nnU-Net's plain U-Net, which its "
        "authors found to serve most data sets. No network of this project has been measured on whole "
        f"volumes yet. {stages - 1} halvings leave at least {_COARSEST} voxels a side of the coarsest map; a "
        f"patch's sides are multiples of {stride}.",
    )
    return Recipe(
        network,
        (training.loss(fingerprint, auxiliary), *training.of_nnunet(fingerprint)),
        patches=shrinking(fingerprint, (stride,) * 3),
        enough=_DEEPEST**3,
        batch=2,
        grows=True,
        halves=True,
    )


def _slabs(fingerprint: Fingerprint) -> Recipe:
    """configs/base.py's: the paper's network, which halves D twice and H and W five times."""
    spacing = fingerprint.median_spacing_mm
    network = Choice(
        "network",
        {
            "model": {
                **_common(fingerprint, "dense_unet"),
                "block_layers": (4, 12, 24, 36),
                "growth_rate": 32,
                "bottleneck": 128,
                "stem_channels": 96,
                "compression": 0.5,
                "decoder_channels": (504, 224, 192, 96, 64),
                "separable": True,
                "link": "add",
                "bn_momentum": 0.99,
                "bn_epsilon": 1e-3,
                "dtype": "float32",
                "remat": "none",
                "auxiliary_outputs": 0,
            }
        },
        f"Slices lie {spacing[0]:g} mm apart, voxels within them {max(spacing[1:]):g} mm: 3D-DenseUNet, "
        "which halves the slices twice and their sides five times. Its sides are multiples of (4, 32, 32). "
        "No network of this project has been measured on whole volumes yet.",
    )
    depth, height, width = (_side(side, step) for side, step in zip(fingerprint.median_shape, (4, 32, 32)))
    patches = [
        (min(slices, depth), min(plane, height), min(plane, width)) for plane in _PLANES for slices in _SLICES
    ]
    return Recipe(
        network,
        (training.loss(fingerprint), *training.of_the_paper(fingerprint)),
        patches=tuple(dict.fromkeys(patches)),
        enough=12 * _PLANES[0] ** 2,
        batch=1,
        grows=False,
        halves=True,
    )


def _halvings(side: int) -> int:
    """How often a side can be halved before it has fewer voxels than the coarsest map should."""
    return int(math.log2(max(min(side, _DEEPEST) / _COARSEST, 1)))


def _side(side: int, stride: int) -> int:
    """The largest multiple of the stride that is not longer; one stride for a shorter one."""
    return max(stride, side // stride * stride)


def _as_patch(sides: Sequence[int]) -> Patch:
    d, h, w = sides
    return d, h, w


def shrinking(fingerprint: Fingerprint, stride: Patch) -> tuple[Patch, ...]:
    """Patches from the median image down: the side that is longest in mm gives way, a stride at a time."""
    spacing = fingerprint.median_spacing_mm
    sides = [_side(side, step) for side, step in zip(fingerprint.median_shape, stride)]
    patches: list[Patch] = []
    while True:
        if math.prod(sides) <= _MOST_VOXELS:
            patches.append(_as_patch(sides))
        longer = [axis for axis in range(3) if sides[axis] > stride[axis]]
        if not longer:
            break
        axis = max(longer, key=lambda axis: (sides[axis] * spacing[axis], axis))
        sides[axis] -= stride[axis]
    return tuple(patches)
