"""Table 1 and figures 3 and 4: the paper's methods, and this project's networks of the same names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from configs import ds_dense_unet_569, table_one
from dsdenseunet.core import files
from dsdenseunet.memory.description import describe
from dsdenseunet.reporting import results
from dsdenseunet.runtime.stages import Chain
from experiments.benchmarks.reproduction import paper

_COMMON: Mapping[str, tuple[str, Callable[[str], ConfigDict]]] = {
    "table_one": ("configs/table_one.py", table_one.get_config),
    "ours": ("configs/ds_dense_unet_569.py", ds_dense_unet_569.get_config),
}
# The paper's methods as they are built here, all with the same recipe but for what their docstrings say.
CONFIGS: Mapping[str, tuple[str, str]] = {
    "Kaluva et al.": ("table_one", "kaluva"),
    "H-DenseUNet": ("table_one", "h_dense_unet"),
    "3D DenseUNet-65": ("table_one", "dense_unet_65"),
    "RA-UNet": ("table_one", "ra_unet"),
    "3D-DenseUNet-569": ("ours", "ds"),
}
# The same network with the schedule to the paper's letter, see the config; it is a row of its own.
LITERAL = ("3D-DenseUNet-569, literal schedule", ("ours", "ds_literal"))
STEPS = sum(paper.EPOCHS.values()) * paper.STEPS_PER_EPOCH
FOLDS = 5


def config_of(of: tuple[str, str]) -> str:
    """A config as one types it."""
    kind, variant = of
    return f"{_COMMON[kind][0]}:{variant}"


def rows(dice: Mapping[str, Any], *, counted: bool) -> list[dict[str, Any]]:
    """The paper's rows, with what is known of ours.

    Args:
        dice: of ours, by config, see `compared`.
        counted: whether to count the trainable parameters of ours, which takes half a minute.
    """
    found: list[dict[str, Any]] = [dict(row) for row in paper.TABLE_1]
    literal, of = LITERAL
    if config_of(of) in dice:
        empty = {"case": None, "global": None}
        found.append({"method": literal, "dimension": "3D", "parameters_millions": None})
        found[-1] |= {"liver": empty, "tumour": empty}
    for row in found:
        kind, variant = {**CONFIGS, literal: of}[row["method"]]
        config = _COMMON[kind][1](variant)
        totals = describe(config.model, config.data.patch_size).totals() if counted else {}
        name = config_of((kind, variant))
        row |= {"config": name, "trainable": totals.get("trainable"), "ours": dice.get(name)}
    return found


def compare_command(out: Path, data: str) -> list[str]:
    """What trains all of them: the paper's number of steps, five folds."""
    configs = ",".join(config_of(of) for of in (*CONFIGS.values(), LITERAL[1]))
    folds = [f"--fold={fold}" for fold in range(FOLDS)]
    where = [f"--workdir={out / 'table1'}", f"--out={out / 'table1' / 'results'}"]
    return ["compare", f"--configs={configs}", f"--data={data}", f"--budget={STEPS}steps", *folds, *where]


def compared(chain: Chain, out: Path, data: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Trains and scores all of them on a data set, days on a GPU; what is done is not run again.

    Returns:
        Of each config the `cases` that were scored and the Dice of each region with its interval, in percent;
        and what the numbers were made with.

    Raises:
        StageFailedError: the comparison failed or was stopped.
    """
    record = out / "table1" / "results" / "comparison.json"
    chain.run("table1", compare_command(out, str(data)), [], [record])
    with results.complete(record, f"remove {record}, and run the same command again"):
        return read(files.read_json(record))


def read(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """See `compared`."""
    typed = {config_of(of).rpartition("/")[2]: config_of(of) for of in (*CONFIGS.values(), LITERAL[1])}
    dice = {}
    for row in record["scored"]:
        if name := typed.get(row["contender"]):
            regions = {region: row["dice"][region] for region in ("liver", "tumour")}
            dice[name] = {"cases": row["cases"], **{r: _percent(value) for r, value in regions.items()}}
    return dice, [record["provenance"]]


def _percent(value: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if number is None else 100 * number for name, number in value.items()}
