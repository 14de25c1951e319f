"""3D-DenseUNet-569 on 14 volumes of LiTS, in three folds that keep a patient's scans together.

    python -m experiments.prepare --data=LiTS256 --cache=cache-lits14
    python -m experiments.train --config=configs/lits14.py:ds --workdir=runs/lits14-ds

`:ds`, `:standard`, `:ds_literal` and `:standard_literal` are those of configs/ds_dense_unet_569.py. The
volumes have every second slice, 256 x 256 pixels, and Hounsfield units from -40 to 160. Where LiTS is at
hand, `--config.data.cache=cache` trains on all 131 volumes in the same way.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import ds_dense_unet_569

# Their scans agree in size, spacing and anatomy.
SAME_PATIENT = (("volume-7", "volume-8", "volume-9", "volume-10"),)


def get_config(variant: str = "ds") -> ConfigDict:
    """Args: a variant of configs/ds_dense_unet_569.py."""
    config = ds_dense_unet_569.get_config(variant)
    config.name = f"lits14:{variant}"
    # All that these copies have of the scans' range.
    config.task.channels = (("CT", "window", -40.0, 160.0),)
    config.data.cache = "cache-lits14"
    config.data.folds = 3
    config.data.same_patient = SAME_PATIENT
    return config
