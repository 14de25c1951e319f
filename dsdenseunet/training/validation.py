"""Validation on whole cached volumes, with the sliding window that prediction uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ml_collections import ConfigDict

from dsdenseunet import parallel
from dsdenseunet.data.cache import Cache, CachedCase
from dsdenseunet.evaluation.overlap import dice_per_class
from dsdenseunet.inference.predict import NonFiniteOutputError, Predictor
from dsdenseunet.training.failure import NonFiniteLossError, lower_rate
from dsdenseunet.training.state import TrainState, variables_of


def validate(
    config: ConfigDict, state: TrainState, cache: Cache, names: Sequence[str], stop: Callable[[], bool]
) -> dict[str, float] | None:
    """Mean Dice over cases of liver (with tumour) and tumour, and the mean of both.

    A case without tumour counts 1 where none is predicted and 0 where some is, as in LiTS. The cases
    are shared among all devices of all processes, a case each at a time; the sum is over the cases in
    their order, so that it does not depend on who had which.

    Args:
      config: the run's config.
      state: whose variables are validated.
      cache: prepared cases.
      names: the cases to validate.
      stop: asked between rounds of cases, on every process; True abandons the validation.

    Returns:
      liver_dice, tumour_dice and mean_dice, or None where it was abandoned.

    Raises:
      NonFiniteLossError: the network says NaN or infinity for a voxel of a case.
    """
    predictor = Predictor.of(config, state.recipe.model, parallel.local_copy(variables_of(state)))
    lanes = [(place, predictor.on(device)) for place, device in parallel.own_devices()]
    devices = parallel.device_count()
    dice = np.zeros((len(names), 2))
    with ThreadPoolExecutor(len(lanes), "validate") as executor:
        # Every process goes the same number of rounds, so that all agree on when to stop.
        for first in range(0, len(names), devices):
            if stop():
                return None
            mine = [(first + place, lane) for place, lane in lanes if first + place < len(names)]
            working = [executor.submit(_dice, lane, cache.case(names[index])) for index, lane in mine]
            for (index, _), case in zip(mine, working, strict=True):
                try:
                    dice[index] = case.result()
                except NonFiniteOutputError as error:
                    raise NonFiniteLossError(
                        f"validation of {names[index]}: {error}\n"
                        f"  to do:  {lower_rate(config.optimizer.learning_rate)}; the same command goes back "
                        "to the last checkpoint and meets the same"
                    ) from error
    # Each case is another process's zero: their sum is exact.
    liver, tumour = (float(value) for value in parallel.sum_over_processes(dice).mean(axis=0))
    return {"liver_dice": liver, "tumour_dice": tumour, "mean_dice": (liver + tumour) / 2}


def _dice(predictor: Predictor, case: CachedCase) -> tuple[float, float]:
    """Liver's and tumour's."""
    labels_DHW = predictor.segment(case.image_DHW, case.spacing_mm)
    scores = dice_per_class(labels_DHW, np.asarray(case.labels_DHW))
    return scores["liver"], scores["tumour"]
