"""A page on which to scroll through a scan with its labels, along all three planes; it works offline.

Slices are JPEG of 8 bits, so that a scan of 512 x 512 x 200 voxels stays below 15 MB; labels are exact.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import os
import zlib
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsdenseunet.data.intensity import with_channels
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.grid import Spacing, Volume
from dsdenseunet.reporting import html
from dsdenseunet.tasks.colours import COLOURS, class_colours
from dsdenseunet.tasks.task import Region, Task

_QUALITY = 75
# Percentiles of what can be seen, and of the window at first, where values have no unit.
_SEEN, _WINDOW = (0.1, 99.9), (1.0, 99.0)
_MOST_PIECES = 200


@dataclasses.dataclass(frozen=True)
class Piece:
    """A connected piece of a region.

    Attributes:
        region: its name.
        found: "found" (in both), "missed" (in the truth alone) or "false" (in the prediction alone); "" where
            there is nothing to compare with.
        ml: its volume in the truth, or else in the prediction.
        voxel: (D, H, W) of one of its voxels, in the middle of it as far as may be.
    """

    region: str
    found: str
    ml: float
    voxel: tuple[int, int, int]


def view_files(
    path: str | os.PathLike[str],
    image: str | os.PathLike[str],
    task: Task,
    prediction: str | os.PathLike[str] | None = None,
    reference: str | os.PathLike[str] | None = None,
) -> list[Piece]:
    """Reads a scan and labels on its grid, voxel by voxel, and writes their page.

    Args:
        path: of the HTML file.
        image: the scan.
        task: what the labels mean, and how the image is windowed.
        prediction: its labels, if there are any.
        reference: those that they are compared with.

    Returns:
        the pieces that the page lists.

    Raises:
        InputError: a file that cannot be read, or whose shape is not the image's.
    """
    scan = nifti.read_image(image, channels=task.channels)
    truth_DHW, prediction_DHW = (
        None if file is None else nifti.read_labels(file, task, like=scan.grid, with_ignored=True).array_DHW
        for file in (reference, prediction)
    )
    return write_viewer(path, Path(image).name, scan, task, truth_DHW, prediction_DHW)


def write_viewer(
    path: str | os.PathLike[str],
    title: str,
    scan: Volume,
    task: Task,
    truth_DHW: NDArray[np.uint8] | None = None,
    prediction_DHW: NDArray[np.uint8] | None = None,
) -> list[Piece]:
    """Writes the page of a scan and its labels; of several channels the first is shown.

    Returns:
        the pieces that the page lists.
    """
    image_DHW = with_channels(scan.array_DHW)[..., 0]
    labels = {
        name: array_DHW
        for name, array_DHW in (("prediction", prediction_DHW), ("truth", truth_DHW))
        if array_DHW is not None
    }
    seen, window = _ranges(image_DHW, task)
    found = pieces(task, truth_DHW, prediction_DHW, scan.spacing_mm)
    classes = tuple(zip(task.classes[1:], class_colours(task), strict=True))
    data: dict[str, Any] = {
        "shape": image_DHW.shape,
        "spacing_mm": scan.spacing_mm,
        "seen": seen,
        "window": window,
        "ignored": task.ignore_label,
        "unit": "HU" if task.channels[0].is_hounsfield else "",
        "colours": [colour for _, colour in classes],
        "slices": [_jpeg(slice_HW, seen) for slice_HW in image_DHW],
        "labels": {name: _packed(array_DHW) for name, array_DHW in labels.items()},
        "pieces": [dataclasses.asdict(piece) for piece in found],
    }
    html.write_page(
        path,
        "viewer.html",
        title=title,
        # JSON within a script: no text in it can end the script.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        layers=tuple(labels),
        classes=classes,
        pieces=found,
        region_colours={region.name: COLOURS[n % len(COLOURS)] for n, region in enumerate(task.regions)},
    )
    return found


def pieces(
    task: Task,
    truth_DHW: NDArray[np.uint8] | None,
    prediction_DHW: NDArray[np.uint8] | None,
    spacing_mm: Spacing,
) -> list[Piece]:
    """What there is to jump to: pieces of the regions that are scored piece by piece, all others as a whole.

    The largest come first, those that one of the two has missed before those that both have.
    """
    ml = math.prod(spacing_mm) / 1000
    listed = []
    for region in task.regions:
        apart = region.name in task.detect
        truth, prediction = (_numbered(region, labels, apart) for labels in (truth_DHW, prediction_DHW))
        listed += _compared(region.name, truth, prediction, "missed", ml)
        alone = _compared(region.name, prediction, truth, "false", ml)
        listed += [piece for piece in alone if truth is None or piece.found == "false"]
    order = {"missed": 0, "false": 1, "found": 2, "": 2}
    return sorted(listed, key=lambda piece: (order[piece.found], -piece.ml))[:_MOST_PIECES]


def _numbered(region: Region, labels_DHW: NDArray[np.uint8] | None, apart: bool) -> NDArray[Any] | None:
    if labels_DHW is None:
        return None
    mask = region.mask(labels_DHW)
    return cc3d.connected_components(mask, connectivity=6) if apart else mask.astype(np.uint8)


def _compared(
    region: str, own: NDArray[Any] | None, other: NDArray[Any] | None, alone: str, ml: float
) -> list[Piece]:
    if own is None:
        return []
    # Of background, which is no piece, too.
    statistics = cc3d.statistics(own)
    shared = set() if other is None else set(np.unique(own[other > 0]).tolist())
    listed = []
    for number, (count, box, centre) in enumerate(
        zip(statistics["voxel_counts"], statistics["bounding_boxes"], statistics["centroids"], strict=True)
    ):
        if not number or not count:
            continue
        voxels = np.argwhere(own[box] == number)
        start = np.array([part.start for part in box])
        nearest = voxels[np.argmin(((voxels + start - centre) ** 2).sum(axis=1))] + start
        found = "" if other is None else "found" if number in shared else alone
        d, h, w = map(int, nearest)
        listed.append(Piece(region, found, float(count) * ml, (d, h, w)))
    return listed


def _ranges(image_DHW: NDArray[Any], task: Task) -> tuple[tuple[float, float], tuple[float, float]]:
    """The values that become 0 and 255, and the window at first; both in the image's unit."""
    channel = task.channels[0]
    if channel.is_hounsfield:
        low, high = channel.numbers
        # As much again, so that the window can be moved.
        more = (high - low) / 2
        return (low - more, high + more), (low, high)
    step = max(image_DHW.size // 1_000_000, 1)
    lowest, low, high, highest = map(
        float, np.percentile(image_DHW.reshape(-1)[::step], (_SEEN[0], *_WINDOW, _SEEN[1]))
    )
    return (lowest, max(highest, lowest + 1e-6)), (low, max(high, low + 1e-6))


def _jpeg(slice_HW: NDArray[Any], seen: tuple[float, float]) -> str:
    low, high = seen
    grey = (
        np.clip((slice_HW.astype(np.float32) - low) * (255 / (high - low)), 0, 255).round().astype(np.uint8)
    )
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def _packed(labels_DHW: NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(labels_DHW).tobytes(), 9)).decode()
