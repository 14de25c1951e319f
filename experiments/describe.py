"""Prints a network's stages, their shapes, parameters, multiply-adds and activations; takes seconds.

python -m experiments.describe --config=configs/ds_dense_unet_569.py:ds [--json=FILE] [--drawing=FILE]

For one patch of `config.data.patch_size`, in `config.model.dtype`. Nothing is compiled or allocated.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from dsdenseunet.core import files
from dsdenseunet.memory.description import describe
from dsdenseunet.reporting.network_drawing import drawing
from dsdenseunet.runtime import cli
from dsdenseunet.training.settings import check_config

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_JSON = cli.output_file("json", None, "File to write the same to, as JSON.")
_DRAWING = cli.output_file("drawing", None, "SVG file to draw the stages to.")
flags.mark_flags_as_required(["config"])


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    del argv
    config = _CONFIG.value
    check_config(config)
    description = describe(config.model, config.data.patch_size)
    print(f"{config.name}, input {' x '.join(map(str, description.input_shape))}, {description.dtype}\n")
    print(description.table())
    if _JSON.value:
        files.write_json(_JSON.value, {"config": config.name, **description.as_json()})
    if _DRAWING.value:
        files.write_text(_DRAWING.value, drawing(description.as_json(), config.name))


if __name__ == "__main__":
    cli.run(main)
