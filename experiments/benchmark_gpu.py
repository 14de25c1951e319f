"""Measures what an NVIDIA GPU gives, beside PyTorch in the same run, in ten minutes; saves after each result.

python -m experiments.benchmark_gpu [--parts=device,volume,...] [--out=FILE]

Without PyTorch only ours is measured. --config.FIELD=VALUE changes the network, the patch or the precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from dsdenseunet import cli, files
from dsdenseunet.errors import InputError

_PARTS = ("device", "depthwise", "volume", "schedule", "step", "inference", "determinism")
_CONFIG = config_flags.DEFINE_config_file(
    "config", "configs/ds_dense_unet_569.py:ds", "A file of configs/; both variants are measured."
)
DTYPE = flags.DEFINE_enum("dtype", "bfloat16", ["bfloat16", "float32"], "In place of config.model.dtype.")
PARTS = flags.DEFINE_list("parts", list(_PARTS), f"Which to measure, of {','.join(_PARTS)}.")
OUT = cli.output_file("out", None, "File to write everything that was measured to, as JSON.")
MINUTES = flags.DEFINE_float("minutes", 10.0, "For everything; what no time is left for is left out.", 0.1)
WHOLE = flags.DEFINE_boolean("whole_schedule", True, "Run all steps of the schedule if the time allows.")


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    del argv
    unknown = sorted(set(PARTS.value) - set(_PARTS))
    if unknown:
        found, expected = ",".join(unknown), f"some of {','.join(_PARTS)}"
        raise InputError("--parts", found=found, expected=expected, fix="name known parts")
    from experiments.benchmarks.gpu.all_parts_gpu import run

    def save(record: dict[str, Any]) -> None:
        if OUT.value:
            files.write_json(OUT.value, record)

    config = _CONFIG.value.to_dict()
    config["model"]["dtype"] = DTYPE.value
    run(
        config,
        PARTS.value,
        seconds=60 * MINUTES.value,
        whole_schedule=WHOLE.value,
        say=lambda line: print(line, flush=True),
        save=save,
    )


if __name__ == "__main__":
    cli.run(main)
