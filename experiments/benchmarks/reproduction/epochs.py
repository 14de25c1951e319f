"""Table 2: seconds of each epoch, by kind of convolution and number of training cases."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.manifest import MANIFEST
from dsdenseunet.memory.description import describe
from dsdenseunet.reporting import results
from dsdenseunet.runtime.stages import Chain
from experiments.benchmarks.reproduction import paper

CONFIG, BASE = "configs/ds_dense_unet_569.py", "configs/base.py"
# Every cell compiles, as the paper's do.
_COMPILES = {"JAX_ENABLE_COMPILATION_CACHE": "false"}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How much of the paper's protocol is run.

    Attributes:
        patch: voxels (D, H, W).
        steps: of an epoch.
        epochs: of a cell.
        cases: numbers of training cases; each with both kinds of convolution is a cell.
        variants: kinds of convolution.
        config: file of configs/ that has these variants.
    """

    patch: tuple[int, int, int] = (12, 224, 224)
    steps: int = paper.STEPS_PER_EPOCH
    epochs: int = 10
    cases: tuple[int, ...] = (5, 10, 15, 20)
    variants: tuple[str, ...] = ("ds", "standard")
    config: str = CONFIG


FULL = Protocol()
# For CPUs: the whole network, on patches of a twelfth of the voxels.
REDUCED = Protocol(patch=(12, 64, 64), steps=5)
PHANTOM_SIZE = "48,128,128"


def phantoms(chain: Chain, out: Path, protocol: Protocol) -> Path:
    """Makes as many phantoms as the protocol has cases, and one to validate on; returns their folder."""
    folder = out / "phantoms"
    count = max(protocol.cases) + 1
    options = [f"--out={folder}", f"--cases={count}", "--seed=0", f"--size={PHANTOM_SIZE}"]
    chain.run("phantoms", ["make_phantoms", *options], [], [folder])
    return folder


def prepared(chain: Chain, out: Path, data: Path) -> Path:
    """The cache of a data set: one stage for all items, which takes up where it was stopped."""
    cache = out / f"cache-{data.name}"
    chain.run(
        f"prepare {data.name}", ["prepare", f"--data={data}", f"--cache={cache}"], [], [cache / MANIFEST]
    )
    return cache


def table_2(chain: Chain, out: Path, cache: Path, protocol: Protocol) -> dict[str, Any]:
    """Trains every cell in a process of its own and reads its log.

    A cell that was stopped begins anew, as its epochs are timed in one piece. Its weights are removed.

    Raises:
        InputError: too few cases, or a log that is damaged.
        StageFailedError: a training failed or was stopped.
    """
    names, most = Cache.open(cache).names, max(protocol.cases)
    if len(names) <= most:
        raise InputError(
            cache,
            found=f"{len(names)} cases",
            expected=f"more than the {most} of the paper's Table 2",
            fix="name a larger data set, or leave --data out",
        )
    ours: dict[str, dict[str, list[float]]] = {variant: {} for variant in protocol.variants}
    made: list[dict[str, Any]] = []
    for variant, count in itertools.product(ours, protocol.cases):
        run = out / "table2" / f"{variant}-{count}"
        command = ["train", f"--config={protocol.config}:{variant}", f"--workdir={run}"]
        fields = {
            "data.cache": cache,
            "data.explicit.train": names[:count],
            "data.explicit.validation": (names[most],),
            "data.patch_size": protocol.patch,
            "training.phase": "phase1",
            "phases.phase1.epochs": protocol.epochs,
            "training.steps_per_epoch": protocol.steps,
            # The end validates, which is not timed: on one case, as quickly as it can be.
            "training.validate_epochs": 0,
            "training.validate_patches": 0,
            "training.checkpoint_epochs": protocol.epochs,
            "inference.overlap": 0.0,
        }
        command += [f"--config.{name}={value}" for name, value in fields.items()]
        log, origin = run / "metrics.jsonl", run / "provenance.json"
        chain.run(
            f"table2/{run.name}",
            command,
            [cache / MANIFEST, Path(protocol.config), Path(BASE)],
            [log, origin],
            environment=_COMPILES,
            anew=run,
        )
        shutil.rmtree(run / "phase1", ignore_errors=True)
        fix = f"remove {run}, and run the same command again"
        with results.complete(log, fix):
            ours[variant][str(count)] = seconds_of_epochs(log)
        with results.complete(origin, fix):
            made.append(made_with(files.read_json(origin)["starts"][-1]))
    return {
        "paper": {
            "epochs": {v: {str(n): list(s) for n, s in cells.items()} for v, cells in paper.TABLE_2.items()},
            "averages": {v: {str(n): a for n, a in row.items()} for v, row in paper.TABLE_2_AVERAGES.items()},
            "totals": paper.TABLE_2_TOTALS,
            "patch": list(FULL.patch),
            "steps": FULL.steps,
            "trained_on": paper.TRAINED_ON,
        },
        "ours": ours,
        "protocol": dataclasses.asdict(protocol),
        "macs": {v: describe(get_config(v).model, FULL.patch).totals()["macs"] for v in ours},
        "made": different(made),
    }


def seconds_of_epochs(log: Path) -> list[float]:
    """Seconds of each epoch of a run's only phase, compiling included, validating not."""
    seconds: dict[int, float] = {}
    for line in results.read_metrics(log):
        if "loss" in line:
            seconds[line["epoch"]] = seconds.get(line["epoch"], 0.0) + 1 / line["steps_per_second"]
    return [round(value, 3) for value in seconds.values()]


def made_with(start: Mapping[str, Any]) -> dict[str, Any]:
    """What a number of a run carries, of what its `provenance.json` says of its last start."""
    names = ("started", "commit", "uncommitted_changes_sha256", "versions", "hardware")
    return {name: start[name] for name in names}


def different(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One of each commit, versions and hardware, the earliest."""
    found: list[dict[str, Any]] = []
    for one in made:
        if not any({**one, "started": ""} == {**other, "started": ""} for other in found):
            found.append(one)
    return found
