"""From a CT to a scored segmentation: data, cache, training, prediction, scores, report.

    python -m experiments.demo --out=demo

Runs the other entry points one after the other and prints their commands. What an earlier run has done
is reused. The last line is the path of the report.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dsdenseunet.data.samples.sample import Sample
from dsdenseunet.reporting.run_report import Inputs, write_report
from dsdenseunet.reporting.sources import PHANTOM, SAMPLE, DataSource
from dsdenseunet.runtime import cli
from dsdenseunet.runtime.stages import Chain, StageFailedError

CONFIGS = [Path("configs") / name for name in ("demo.py", "base.py")]  # as the stages: from the root
PHANTOM_SIZE = "48,128,128"
OUT = cli.output_folder("out", "demo", "Folder for everything that the demo writes.")


def main(_: Sequence[str]) -> int:
    """Runs the chain; exit status of the stage that failed, if one did."""
    start, out = time.perf_counter(), Path(OUT.value)
    chain = Chain(out)
    try:
        data, source = get_data(chain, out)
        inputs = train_and_score(chain, out / f"{source.kind}-run", data)
    except StageFailedError as error:
        print(f"error: {error}; the same command continues from there", file=sys.stderr)
        return error.status
    page = write_report(out, inputs, source, chain.stages)
    print(f"\n{time.perf_counter() - start:.1f} s in all; the report:\n{page.resolve()}")
    return 0


def get_data(chain: Chain, out: Path) -> tuple[Sample, DataSource]:
    """The real sample; where the package index does not have it, phantoms."""
    development, held_out = out / "sample" / "development", out / "sample" / "held_out"
    try:
        chain.run("sample", ["fetch_sample", f"--out={out / 'sample'}"], [], [development, held_out])
        return Sample(development, held_out), SAMPLE
    except StageFailedError as error:
        if error.status != cli.EXIT_BAD_INPUT:  # interrupted, perhaps
            raise
        print(f"\n{'!' * 80}\nNO REAL CT: continuing with synthetic phantoms; the report says so\n{'!' * 80}")
    development, held_out = out / "phantom" / "development", out / "phantom" / "held_out"
    for seed, (folder, cases) in enumerate(((development, 2), (held_out, 1))):
        options = [f"--out={folder}", f"--cases={cases}", f"--seed={seed}", f"--size={PHANTOM_SIZE}"]
        chain.run(f"phantom/{folder.name}", ["make_phantoms", *options], [], [folder])
    return Sample(development, held_out, "volume-0", "volume-1", "volume-0"), PHANTOM


def train_and_score(chain: Chain, work: Path, data: Sample) -> Inputs:
    """Prepares, trains, predicts and scores; the weights are chosen on the validation volume alone."""
    cache, run, predictions, scores = (work / name for name in ("cache", "run", "predictions", "scores"))
    name = data.test.replace("volume", "segmentation")
    image, truth = data.held_out / f"{data.test}.nii", data.held_out / f"{name}.nii"
    prediction, best = predictions / f"{name}.nii.gz", [run / f"phase{phase}" / "best" for phase in (1, 2)]

    command = ["prepare", f"--data={data.development}", f"--cache={cache}"]
    chain.run("prepare", command, [data.development], [cache])
    command = ["train", f"--config={CONFIGS[0]}", f"--workdir={run}", f"--config.data.cache={cache}"]
    command += [f'--config.data.explicit.train=("{data.training}",)']
    command += [f'--config.data.explicit.validation=("{data.validation}",)']
    chain.run("train", command, [cache, *CONFIGS], best)
    command = ["predict", f"--workdir={run}", f"--input={image}", f"--output={predictions}"]
    chain.run("predict", command, [best[1], image], [prediction])
    command = ["evaluate", f"--predictions={predictions}", f"--references={data.held_out}", f"--out={scores}"]
    chain.run("score", command, [prediction, truth], [scores / "scores.json"])
    return Inputs(run, image, truth, prediction, scores / "scores.json")


if __name__ == "__main__":
    cli.run(main)
