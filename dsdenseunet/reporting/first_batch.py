"""A picture of a training batch as the network sees it: what augmentation and normalisation have made of it.

Drawn without Matplotlib, whose import alone would take longer, as every start of a training draws it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageColor import getrgb

from dsdenseunet.core import files
from dsdenseunet.reporting.slices import choose_slices, for_display
from dsdenseunet.reporting.style import GREY, INK
from dsdenseunet.tasks.channel import Channel
from dsdenseunet.tasks.colours import COLOURS
from dsdenseunet.tasks.task import Region, Task

FILE = "first_batch.png"
# How many patches and channels are shown.
_PATCHES, _CHANNELS = 4, 4
# In pixels: a patch's longer side, about; between panels; a line of text; its letters; the least width.
_SIDE, _GAP, _LINE, _LETTERS, _WIDTH = 320, 10, 20, 14, 720
# Normalisations with bounds, -1 and 1; of the others this share of a slice may be darker, or brighter.
_BOUNDED = ("window", "percentiles")
_CLIPPED = 0.005
# Of regions in turn: in words; how much of an outline is drawn, and left out.
_OUTLINES = (("solid", 1, 0), ("dashed", 14, 10), ("dotted", 5, 5))


def write(
    path: str | os.PathLike[str],
    image_BDHWC: NDArray[np.floating],
    labels_BDHW: NDArray[np.integer],
    names: Sequence[str],
    task: Task,
) -> None:
    """Writes the picture as PNG: the first patches below each other, of each one axial slice.

    Left to right: the channels in grey, and the first one again with the labels' outlines.

    Args:
        path: to write.
        image_BDHWC: as the network takes it.
        labels_BDHW: as the loss takes them; those that no region has are not drawn.
        names: of the patches' cases.
        task: of channels and labels.
    """
    patches = list(zip(image_BDHWC, labels_BDHW, names))[:_PATCHES]
    channels = task.channels[:_CHANNELS]
    height, width = labels_BDHW.shape[2:]
    factor = max(1, round(_SIDE / max(height, width)))
    row = 2 * _LINE + factor * height + _GAP
    column = factor * width + _GAP
    size = (max(_WIDTH, (len(channels) + 1) * column + _GAP), len(patches) * row + _LINE + 2 * _GAP)
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_LETTERS)
    for number, (image_DHWC, labels_DHW, name) in enumerate(patches):
        (index,) = choose_slices(labels_DHW, 1, task.regions)
        top = _GAP + number * row
        shares = ", ".join(f"{region.name} {region.mask(labels_DHW).mean():.1%}" for region in task.regions)
        title = f"{name}, slice {index + 1} of {len(labels_DHW)}; of the patch: {shares}"
        draw.text((_GAP, top), title, INK, font)
        panels = [_grey(channel, image_DHWC[..., place]) for place, channel in enumerate(channels)]
        shown = [(_enlarged(grey_DHW[index], factor), text) for grey_DHW, text in panels]
        labels_HW = _enlarged(labels_DHW[index], factor)
        shown.append((_outlined(shown[0][0], labels_HW, task.regions), f"{channels[0].name} and labels"))
        for place, (panel, text) in enumerate(shown):
            left = _GAP + place * column
            canvas.paste(Image.fromarray(panel), (left, top + _LINE))
            draw.text((left, top + _LINE + factor * height), text, GREY, font)
    left = _GAP
    for region, colour, (outline, *_) in zip(
        task.regions, itertools.cycle(COLOURS), itertools.cycle(_OUTLINES)
    ):
        text = f"{region.name} ({outline} outline)"
        draw.text((left, size[1] - _LINE - _GAP // 2), text, colour, font)
        left += int(draw.textlength(text, font)) + 3 * _GAP
    with files.atomic_path(path) as temporary:
        canvas.save(temporary, format="PNG")


def _grey(channel: Channel, image_DHW: NDArray[np.floating]) -> tuple[NDArray[np.uint8], str]:
    """A channel as greys, and what they mean."""
    low, high = -1.0, 1.0
    if channel.normalisation not in _BOUNDED:
        low, high = (float(end) for end in np.quantile(image_DHW, (_CLIPPED, 1 - _CLIPPED)))
    shares_DHW = np.clip((image_DHW - low) / max(high - low, 1e-6), 0, 1)
    text = f"{channel.name}: black {low:.2g}, white {high:.2g}; mean {image_DHW.mean():.2g}"
    return (255 * shares_DHW).astype(np.uint8), text


def _enlarged(slice_HW: NDArray[Any], factor: int) -> NDArray[Any]:
    """As it is shown: each voxel as a square of so many pixels."""
    return np.ascontiguousarray(for_display(slice_HW).repeat(factor, axis=0).repeat(factor, axis=1))


def _outlined(
    grey_HW: NDArray[np.uint8], labels_HW: NDArray[np.integer], regions: Sequence[Region]
) -> NDArray[np.uint8]:
    """The slice as RGB (H, W, 3), with the regions' outlines by colour and by dashes."""
    picture = np.repeat(grey_HW[..., None], 3, axis=-1)
    across = np.add.outer(np.arange(len(grey_HW)), 2 * np.arange(grey_HW.shape[1]))
    for region, colour, (_, drawn, left_out) in zip(
        regions, itertools.cycle(COLOURS), itertools.cycle(_OUTLINES)
    ):
        mask = region.mask(labels_HW)
        inner = np.pad(mask, 2)
        inside = inner[:-4, 2:-2] & inner[4:, 2:-2] & inner[2:-2, :-4] & inner[2:-2, 4:]
        picture[mask & ~inside & (across % (drawn + left_out) < drawn)] = getrgb(colour)
    return picture
