"""Everything that the paper prints in its tables: the only numbers of this project that are typed.

Alalwan et al., "Efficient 3D Deep Learning Model for Medical Image Semantic Segmentation", Alexandria
Engineering Journal 60, 2021, https://doi.org/10.1016/j.aej.2020.10.046.
"""

from __future__ import annotations

from typing import Any

# Table 1: Dice in percent on LiTS, by method: of each case and over all voxels (`global`).
TABLE_1: tuple[dict[str, Any], ...] = (
    {
        "method": "Kaluva et al.",
        "dimension": "2D",
        "parameters_millions": None,
        "liver": {"case": 91.2, "global": 92.3},
        "tumour": {"case": 49.2, "global": 62.5},
    },
    {
        "method": "H-DenseUNet",
        "dimension": "2.5D",
        "parameters_millions": 4.0,
        "liver": {"case": 96.1, "global": 96.5},
        "tumour": {"case": 72.2, "global": 82.4},
    },
    {
        "method": "3D DenseUNet-65",
        "dimension": "3D",
        "parameters_millions": None,
        "liver": {"case": 93.6, "global": 92.9},
        "tumour": {"case": 59.4, "global": 78.8},
    },
    {
        "method": "RA-UNet",
        "dimension": "3D",
        "parameters_millions": 4.0,
        "liver": {"case": 96.1, "global": 96.3},
        "tumour": {"case": 59.5, "global": 79.5},
    },
    {
        "method": "3D-DenseUNet-569",
        "dimension": "3D",
        "parameters_millions": 3.6,
        "liver": {"case": 96.2, "global": 96.7},
        "tumour": {"case": 69.6, "global": 80.7},
    },
)

# Table 2: seconds of each of ten epochs, by kind of convolution and number of training cases; "the first
# training epoch/step is relatively large because it includes the model compiling time" (section 4.4).
TABLE_2: dict[str, dict[int, tuple[int, ...]]] = {
    "ds": {
        5: (40, 8, 6, 6, 6, 6, 6, 6, 6, 6),
        10: (55, 6, 5, 6, 6, 5, 6, 5, 6, 5),
        15: (59, 7, 6, 6, 7, 6, 6, 6, 6, 6),
        20: (45, 7, 6, 6, 6, 6, 6, 6, 6, 6),
    },
    "standard": {
        5: (192, 18, 14, 25, 13, 13, 16, 25, 15, 27),
        10: (241, 17, 10, 14, 15, 14, 13, 17, 32, 30),
        15: (225, 12, 19, 19, 17, 19, 18, 21, 19, 20),
        20: (228, 17, 18, 17, 18, 20, 27, 22, 17, 20),
    },
}
# Its last two rows.
TABLE_2_AVERAGES = {
    "ds": {5: 9.6, 10: 10.5, 15: 11.5, 20: 10.0},
    "standard": {5: 35.8, 10: 40.3, 15: 38.9, 20: 40.4},
}
TABLE_2_TOTALS = {"ds": 10.4, "standard": 38.85}

# Table 3.
TABLE_3 = {
    "ds": {"total": 36_433_587, "trainable": 36_270_875, "non_trainable": 162_712},
    "standard": {"total": 181_270_071, "trainable": 180_615_711, "non_trainable": 654_360},
}

# What its text says of the same: section 3, abstract and section 4.4, section 4.4.
LAYERS = 569
TRAINABLE_IN_TEXT = 3_600_000
TIMES_LESS_MEMORY = 5

# Sections 3.2 and 4.3.
STEPS_PER_EPOCH = 10
EPOCHS = {"phase1": 100, "phase2": 1000}
TRAINED_ON = "an NVIDIA GTX 1080 of 8 GB"
HOURS = 42
