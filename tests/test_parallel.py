"""Eight devices give one device's run; on a CPU they are forced by an XLA flag."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsdenseunet import parallel
from dsdenseunet.errors import InputError
from tests.training import tiny

EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}


class Mesh:
    """As much of a mesh as the check looks at."""

    def __init__(self, devices: int):
        self.devices = np.empty(devices, object)


@pytest.mark.parametrize(("batch", "accumulate", "devices"), [(1, 1, 1), (8, 1, 8), (16, 2, 8), (6, 3, 2)])
def test_batches_that_fit(batch: int, accumulate: int, devices: int):
    parallel.check_batch_size(batch, accumulate, Mesh(devices))


@pytest.mark.parametrize(
    ("batch", "accumulate", "devices", "fitting"),
    [(1, 1, 8, "=8,"), (12, 1, 8, "=8 or 16,"), (20, 2, 8, "=16 or 32,")],
)
def test_batch_that_does_not_fit_names_those_that_do(batch: int, accumulate: int, devices: int, fitting: str):
    with pytest.raises(InputError) as error:
        parallel.check_batch_size(batch, accumulate, Mesh(devices))
    assert f"--config.data.batch_size{fitting}" in error.value.fix


def test_eight_devices_equal_one(tmp_path: Path):
    cache = tiny.make_cache(tmp_path)
    # Keys, batches and BatchNorm statistics are those of the global batch.
    arguments = ("--config.data.batch_size=16", "--config.training.accumulate=2")
    one, eight, moved = (tmp_path / name for name in ("one", "eight", "moved"))
    tiny.run(tiny.command(cache, one, *arguments))
    output = tiny.run(tiny.command(cache, eight, *arguments), **EIGHT)
    assert "phase 2: done" in output
    assert_close(eight, one)

    # A checkpoint of eight devices goes on on one.
    first = tiny.command(cache, moved, *arguments, "--config.training.phase=phase1")
    tiny.run(first, **EIGHT)
    output = tiny.run([*first, "--extend_to=3"])
    assert "devices 8 -> 1" in output
    assert "resumed at step 4" in output


def assert_close(workdir: Path, reference: Path) -> None:
    """Sums in another order differ in the last bits only."""
    got, expected = tiny.final_arrays(workdir), tiny.final_arrays(reference)
    assert got.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], rtol=2e-4, atol=2e-6, err_msg=name)
