"""What the log of a training run tells about its cost and its course."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dsdenseunet.reporting import results


def together(stages: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What `read` found of each stage of a cascade as one; of a run without stages, that itself.

    A cascade's steps differ, so that `step_s` is their mean. It has no curve: each stage has other regions.
    """
    found = list(stages.values())
    if len(found) == 1:
        return found[0]
    steps = sum(one["steps"] for one in found)
    seconds = sum(one["steps"] * (one["step_s"] or 0.0) for one in found)
    return {
        "steps": steps,
        "images": sum(one["images"] for one in found),
        "step_s": round(seconds / steps, 6) if steps else None,
        "device_bytes": max((one["device_bytes"] for one in found if one["device_bytes"]), default=None),
        "curve": [],
    }


def read(path: Path, batch_size: int) -> dict[str, Any]:
    """Steps, their time, the device's memory, and validation Dice along the way.

    Args:
        path: a run's metrics.jsonl.
        batch_size: patches a step.

    Returns:
        `steps` and `images` of all phases; `step_s`, the median; `device_bytes`, the peak, where a device
        counts it; and `curve`: for each validation `steps` and `seconds` of training before it (compiling
        included, validating not), and `dice`, the mean over regions.

    Raises:
        InputError: no such log, or a damaged one.
    """
    with results.complete(path, "remove the heat's folder, and run the same command again"):
        lines = results.read_metrics(path)
        done, seconds, curve = 0, 0.0, []
        for _, group in itertools.groupby(lines, key=lambda line: line["phase"]):
            step = 0
            for line in group:
                if "loss" in line:
                    step = line["step"]
                    seconds += 1 / line["steps_per_second"] if line["steps_per_second"] else 0.0
                elif "validation" in line:
                    dice = line["validation"]["mean_dice"]
                    curve.append({"steps": done + step, "seconds": round(seconds, 3), "dice": dice})
            done += step
        rates = [line["steps_per_second"] for line in lines if line.get("steps_per_second")]
        peaks = [line["memory"]["peak_bytes"] for line in lines if "memory" in line]
    return {
        "steps": done,
        "images": done * batch_size,
        "step_s": round(1 / float(np.median(rates)), 6) if rates else None,
        "device_bytes": max(peaks, default=None),
        "curve": curve,
    }
