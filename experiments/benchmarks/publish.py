"""Puts what was measured and counted into README.md, docs/explanation/ and the pages of networks.

python -m experiments.benchmarks.publish [--networks] [--gpu=FILE] [--cpu=FILE] [--mednext=FILE]
    [--depthwise=FILE] [--comparison=NAME=FILE]

A new record takes the place of the one in docs/results first. The tables stand between marks there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dsdenseunet.core import files
from dsdenseunet.reporting import comparison_page, style
from dsdenseunet.runtime import cli
from experiments.benchmarks.peers import standings
from experiments.benchmarks.publishing import blocks, network_pages, spacing

_GPU = flags.DEFINE_string("gpu", None, "Record of experiments.benchmark_gpu, in place of the published one.")
_COMPARISON = flags.DEFINE_multi_string(
    "comparison", [], f"NAME=FILE: record of experiments.compare; {', '.join(blocks.COMPARISONS)}."
)
_SPACING = flags.DEFINE_list("spacing", None, "Folders: scores of one run beside another, and both runs.")
_NETWORKS = flags.DEFINE_bool("networks", False, "Count the networks of configs/ anew first.")
_CPU = flags.DEFINE_string("cpu", None, "Record of experiments.benchmarks.cpu, likewise.")
_MEDNEXT = flags.DEFINE_string("mednext", None, "Record of experiments.benchmarks.mednext, likewise.")
_DEPTHWISE = flags.DEFINE_string("depthwise", None, "Record of its parts rates,depthwise, likewise.")
_ROOT = cli.output_folder("root", str(Path(__file__).resolve().parents[2]), "Clone whose documents it is.")


def main(argv: Sequence[str]) -> None:
    """Copies, writes, and names what has changed."""
    del argv
    root, comparisons = Path(_ROOT.value), [blocks.comparison_of(text) for text in _COMPARISON.value]
    if _GPU.value:
        record = files.read_json(_GPU.value)
        blocks.check_gpu(record, _GPU.value)
        files.write_json(root / blocks.RESULTS / blocks.GPU, record)
    for name, path in (
        (blocks.CPU, _CPU.value),
        (blocks.MEDNEXT, _MEDNEXT.value),
        (blocks.DEPTHWISE, _DEPTHWISE.value),
    ):
        if path:
            files.write_json(root / blocks.RESULTS / name, files.read_json(path))
    for name, path in comparisons:
        record = standings.read(path)
        record["data"] = blocks.DATA.get(name, record["data"])
        files.write_json(root / blocks.RESULTS / blocks.COMPARISONS[name], record)
        if name in blocks.PICTURES:
            style.save(comparison_page.leads_figure(record["compared"]), root / blocks.PICTURES[name])
    if _SPACING.value:
        scores, *runs = map(Path, _SPACING.value)
        files.write_json(root / blocks.RESULTS / blocks.SPACING, spacing.record(scores, runs))
    if _NETWORKS.value:
        files.write_json(root / network_pages.RECORD, network_pages.count())
    changed = [*blocks.publish(root), *network_pages.publish(root)]
    print("\n".join(f"written: {path}" for path in changed) or "the documents already show these results")


if __name__ == "__main__":
    cli.run(main)
