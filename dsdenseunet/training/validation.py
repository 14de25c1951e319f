"""Validation on whole cached volumes, with the sliding window that prediction uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ml_collections import ConfigDict

from dsdenseunet import parallel
from dsdenseunet.data.cache import Cache
from dsdenseunet.evaluation.overlap import dice_per_class
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.training.state import TrainState, variables_of


def validate(
    config: ConfigDict, state: TrainState, cache: Cache, names: Sequence[str], stop: Callable[[], bool]
) -> dict[str, float] | None:
    """Mean Dice over cases of liver (with tumour) and tumour, and the mean of both.

    A case without tumour counts 1 where none is predicted and 0 where some is, as in LiTS. The cases
    are shared among the processes.

    Args:
      config: the run's config.
      state: whose variables are validated.
      cache: prepared cases.
      names: the cases to validate.
      stop: asked between cases, on every process; True abandons the validation.

    Returns:
      liver_dice, tumour_dice and mean_dice, or None where it was abandoned.
    """
    predictor = Predictor(
        state.recipe.model,
        parallel.local_copy(variables_of(state)),
        tuple(config.data.patch_size),
        tuple(config.data.hu_window),
        **config.inference,
    )
    # Every process goes the same number of rounds, so that all agree on when to stop.
    mine = names[parallel.process_index() :: parallel.process_count()]
    rounds = -(-len(names) // parallel.process_count())
    sums = np.zeros(2)
    for turn in range(rounds):
        if stop():
            return None
        if turn < len(mine):
            case = cache.case(mine[turn])
            labels_DHW = predictor.segment(case.image_DHW, case.spacing_mm)
            scores = dice_per_class(labels_DHW, np.asarray(case.labels_DHW))
            sums += scores["liver"], scores["tumour"]
    liver, tumour = (float(value) for value in parallel.sum_over_processes(sums) / len(names))
    return {"liver_dice": liver, "tumour_dice": tumour, "mean_dice": (liver + tumour) / 2}
