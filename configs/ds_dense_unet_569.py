"""3D-DenseUNet-569, the paper's network: `:ds` (depthwise separable, 36.3 M parameters) or `:standard`.

    python -m experiments.train --config=configs/ds_dense_unet_569.py:ds --workdir=runs/ds

The schedule is the practical one: the rate stops falling at `lr_floor` and restarts in phase 2.
`:ds_literal` and `:standard_literal` follow the paper's words: the rate halves every 10 epochs without end,
through both phases.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs.base import base_config


def get_config(variant: str = "ds") -> ConfigDict:
    """Args: `ds` or `standard`, with `_literal` for the schedule to the paper's letter."""
    kind, _, schedule = variant.partition("_")
    if kind not in ("ds", "standard") or schedule not in ("", "literal"):
        raise ValueError(f"variant {variant!r}: expected ds, standard, ds_literal or standard_literal")
    config = base_config()
    config.name = f"ds_dense_unet_569:{variant}"
    config.model.separable = kind == "ds"
    if schedule == "literal":
        config.optimizer.lr_floor = 0.0
        config.phases.phase2.continue_schedule = True
    return config
