"""Networks of one recipe on synthetic CTs: a comparison that needs no data set.

    python -m experiments.make_phantoms --out=phantoms --cases=24 --seed=1
    python -m experiments.prepare --config=configs/phantoms.py --data=phantoms --cache=cache-phantoms
    python -m experiments.train --config=configs/phantoms.py --workdir=runs/phantoms

The recipe is that of configs/lits14.py's `:best`, and so are the variants: `:best` itself, and every name of
configs/hippocampus.py's `NETWORKS`. Phantoms are smaller than patients; so is the patch here. What
comes out says which network learns phantoms sooner, and nothing of patients.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import lits14


def get_config(variant: str = "dense_unet_ds") -> ConfigDict:
    """Args: a name of `lits14.SMALL`."""
    if variant not in lits14.SMALL:
        raise ValueError(f"variant {variant!r}: expected one of {', '.join(lits14.SMALL)}")
    config = lits14.get_config(variant)
    config.name = f"phantoms:{variant}"
    # 48 x 96 x 96 mm of some 100 in each direction.
    config.data.patch_size = (32, 64, 64)
    config.data.same_patient = ()
    config.data.cache = "cache-phantoms"
    return config
