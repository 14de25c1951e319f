"""The best recipes that `experiments.compare` has found; docs/results says what each was measured beside.

    python -m experiments.prepare --data=Task04_Hippocampus --cache=cache
    python -m experiments.train --config=configs/best.py:hippocampus_wide --workdir=runs/wide --budget_hours=1

`:hippocampus` is configs/decathlon.py's, for a quarter of an hour of one core, without `model.places`, which
helps in five minutes and not in fifteen, and with two blocks on the finest maps on the way down, which in a
few minutes cost more steps than they are worth. After that it segments its training patches no better than
cases that it has never seen, so that more steps give little: `:hippocampus_wide` has more channels and other
blocks, and deforms its patches, which it would otherwise know by heart. Both average their predictions over
turned patches.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import decathlon

VARIANTS = ("hippocampus", "hippocampus_wide")


def get_config(variant: str = "hippocampus") -> ConfigDict:
    """Args: one of `VARIANTS`."""
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r}: expected one of {', '.join(VARIANTS)}")
    config = decathlon.get_config("Task04_Hippocampus")
    config.name = f"best:{variant}"
    config.inference.rotation_degrees = 10.0
    if variant == "hippocampus":
        config.model.places = False
        config.model.encoder_blocks = (2, 5)
    else:
        config.model.widths = (32, 128)
        config.model.decoder_blocks = (2,)
        config.augment.elastic.probability = 0.8
        config.augment.elastic.range = (0.0, 2.0)
    return config
