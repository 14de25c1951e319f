"""Segments a scan or a folder of scans with the best weights of a run, of several together, or of a cascade.

    python -m experiments.predict --workdir=runs/ds --input=scans --output=predictions

Scans are NIfTI or DICOM; each prediction lies on its scan's own grid, as uint8 labels. Of several runs
(`--workdir=A --workdir=B`) the class probabilities are averaged. Predictions that are current are skipped.
Exit status 1: some failed, see failures.json. What is not given comes from each run's `config.inference`.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
from absl import flags

from dsdenseunet.core import failures
from dsdenseunet.data.scans import walk
from dsdenseunet.inference.folder import predict_folder
from dsdenseunet.inference.scans import SUFFIXES, find_scans, take_shard
from dsdenseunet.preflight import check as preflight
from dsdenseunet.runtime import cli
from dsdenseunet.runtime.compilation import use_compilation_cache
from dsdenseunet.training import trained
from dsdenseunet.training.settings import clean_up_rules, mirror_axes

_WORKDIR = flags.DEFINE_multi_string("workdir", None, "Folder of a run; several are averaged.", required=True)
_INPUT = flags.DEFINE_string("input", None, "A NIfTI file, DICOM series or folder of scans.", required=True)
_OUTPUT = cli.output_folder("output", None, "Folder for the predictions.", required=True)
_SAVE = flags.DEFINE_boolean("save_probabilities", False, "Write class probabilities beside each prediction.")
_PHASE = flags.DEFINE_string("phase", None, "Phase whose best weights are used (default: the last).")
_OVERLAP = flags.DEFINE_float("overlap", None, "Share of a patch that its neighbour covers too.")
_MIRROR = flags.DEFINE_string("mirror", None, "Axes to average mirrored predictions over, e.g. 'DHW' or ''.")
_ROTATION = flags.DEFINE_float(
    "rotation_degrees", None, "Average over turns by as much, or 0 for none.", 0, 45
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Patches through the network at once.")
_CLEAN_UP = flags.DEFINE_string(
    "clean_up", None, "Rules by region: largest:REGION, within:REGION:OTHER:MM; '' for none."
)
_SUFFIX = flags.DEFINE_enum("suffix", SUFFIXES[0], SUFFIXES, "Ending of predictions; .dcm: DICOM SEG.")
_SHARD = flags.DEFINE_string("shard", "0/1", "I/N: this process takes every N-th scan, from the I-th.")
_PIPELINED = flags.DEFINE_boolean("pipelined", True, "Read and write while the network works.")
_PREFLIGHT = flags.DEFINE_boolean("preflight", True, "On a GPU: check it first (experiments.preflight).")


def main(argv: Sequence[str]) -> int:
    """Reads the flags, predicts, prints the sums."""
    del argv
    given = {
        "inference.overlap": ("--overlap", _OVERLAP.value),
        "inference.mirror_axes": ("--mirror", mirror_axes(_MIRROR.value, "--mirror")),
        "inference.rotation_degrees": ("--rotation_degrees", _ROTATION.value),
        "inference.batch_size": ("--batch_size", _BATCH_SIZE.value),
        "task.clean_up": ("--clean_up", clean_up_rules(_CLEAN_UP.value)),
    }
    networks = trained.load(_WORKDIR.value, _PHASE.value, given, calibrated=_SAVE.value)
    found = find_scans(_INPUT.value, _OUTPUT.value, len(networks.segmenter.task.channels))
    scans, failures_name = take_shard(found.used, _SHARD.value)
    use_compilation_cache()
    for config in networks.configs if _PREFLIGHT.value else ():
        preflight.require(config, training=False, otherwise="compute on the CPU: JAX_PLATFORMS=cpu")
    print(f"{len(scans)} scans, {networks.in_words} on {jax.local_device_count()} device(s)")
    walk.tell(found.passed_over)
    outcome = predict_folder(
        [networks.segmenter.on(device) for device in jax.local_devices()],
        scans,
        _OUTPUT.value,
        suffix=_SUFFIX.value,
        failures_name=failures_name,
        pipelined=_PIPELINED.value,
        save_probabilities=_SAVE.value,
    )
    print(outcome.summary())
    return failures.EXIT_STATUS if outcome.failures else 0


if __name__ == "__main__":
    cli.run(main)
