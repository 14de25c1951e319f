"""The liver and its tumours in CT, as the Liver Tumor Segmentation Benchmark (LiTS) has them."""

from __future__ import annotations

from dsdenseunet.tasks.channel import Channel
from dsdenseunet.tasks.task import Region, Task

# A tumour is part of the liver. The window is the paper's.
TASK = Task(
    name="LiTS",
    classes=("background", "liver", "tumour"),
    regions=(Region("liver", (1, 2)), Region("tumour", (2,))),
    channels=(Channel("CT", "window", (-200.0, 250.0)),),
    ignore_label=255,
    stratify_by="tumour",
    select_by=("liver", "tumour"),
    detect=("tumour",),
    clean_up=(),
)
# What the Medical Segmentation Decathlon's Task03_Liver calls the same classes.
DECATHLON_CLASSES = ("background", "liver", "cancer")


def is_lits(task: Task) -> bool:
    """Whether a task's labels are those of LiTS, so that its scorer and its anatomy apply."""
    return task.classes == TASK.classes
