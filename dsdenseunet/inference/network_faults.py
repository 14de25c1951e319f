"""What to do if the network cannot segment a scan, in terms of the flags of `experiments.predict`."""

from __future__ import annotations

import math

from dsdenseunet.core.errors import InputError
from dsdenseunet.inference.predict import NonFiniteOutputError, Segmenter
from dsdenseunet.inference.scans import Scan
from dsdenseunet.runtime import out_of_memory, parallel


def explained(scan: Scan, predictor: Segmenter, error: Exception) -> Exception:
    """An `InputError` that says what to do, if anything can be done, else the error itself."""
    if isinstance(error, NonFiniteOutputError):
        return _no_numbers(scan, error)
    if out_of_memory.is_cause(error):
        return _no_room(predictor, error)
    return error


def _no_numbers(scan: Scan, error: NonFiniteOutputError) -> InputError:
    guess = "" if error.weights else "if other scans fail too, "
    return InputError(
        scan.image,
        found=str(error),
        expected="a finite number for each class of each voxel",
        fix=f"{guess}the weights are at fault: take those of another phase (--phase=NAME) or of another "
        "--workdir; a run with JAX_PLATFORMS=cpu shows whether the device is",
    )


def _no_room(predictor: Segmenter, error: Exception) -> InputError:
    device = parallel.first_device_memory()
    members = predictor.members().values()
    largest = max(members, key=lambda member: member.batch_size * math.prod(member.patch_size))
    smaller = "--batch_size=1" if largest.batch_size > 1 else "JAX_PLATFORMS=cpu, or a card with more memory"
    together = f", and for the weights of {len(members)} runs" if len(members) > 1 else ""
    return InputError(
        "memory",
        found=out_of_memory.first_line(error),
        expected=f"room for {largest.batch_size} patch(es) of {largest.patch_size}{together} on {device[0]}",
        fix="; ".join(
            [
                *out_of_memory.fraction(error, device),
                smaller,
                f"with the run's config for NAME, {out_of_memory.command('NAME', device)}",
            ]
        ),
    )
