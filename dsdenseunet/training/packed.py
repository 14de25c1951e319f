"""Weights in one file, `weights.safetensors` of `experiments.export`, in the place of a run's folder.

The header says all that a run's folder says of its best weights: config, phase, scores, cases, and the hash
of the arrays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flax.traverse_util
from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.safetensors import read_about, read_weights
from dsdenseunet.training import schema
from dsdenseunet.training.checkpoint import load_best
from dsdenseunet.training.integrity import check_digest, contents
from dsdenseunet.training.settings import check_config, config_from_json


def is_packed(source: str | Path) -> bool:
    """Whether weights are named by a file; otherwise it is the folder of a run."""
    return Path(source).is_file()


def load(source: str | Path, phase: str | None = None) -> tuple[ConfigDict, dict[str, Any]]:
    """Config and variables of a run's best weights, from its folder or from one file of them.

    Args:
        source: folder of a run, or a file that `experiments.export` wrote.
        phase: whose weights (None: of a run the last one's, of a file those that it has).

    Raises:
        InputError: as `load_best`; or a file that is none of `experiments.export`, is damaged, is of another
            version, or has another phase's weights.
    """
    if not is_packed(source):
        return load_best(source, phase)
    try:
        about = json.loads(read_about(source)["about"])
        stored, best = about["config"], about["best"]
        variables: dict[str, Any] = flax.traverse_util.unflatten_dict(read_weights(source), sep="/")
        check_digest(variables, best.get("variables_sha256"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            source,
            found=f"no weights of experiments.export, or damaged ones ({type(error).__name__}: {error})",
            expected="a weights.safetensors as it was written, or the folder of a run",
            fix="name one of these, or copy the file again",
        ) from error
    if phase not in (None, best["phase"]):
        raise InputError(
            source,
            found=f"weights of phase {best['phase']}",
            expected=f"of {phase}",
            fix="leave the phase out",
        )
    config = config_from_json(contents(stored), source)
    try:
        check_config(config)
    except InputError as error:
        raise schema.of_another_version(source, f"{error.where} = {error.found}") from error
    return config, variables
