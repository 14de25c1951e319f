"""What the devices make of a batch is what the host makes of it; what is sent ahead is not lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.base import base_config
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.pipeline import extra, make_training_iterator
from dsdenseunet.runtime import parallel
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.training import cascade, loop
from dsdenseunet.training.device_input import Augment, DeviceInput
from tests.training import tiny

PATCH = (8, 24, 40)
# Of values in [-1, 1]: some last bits, from products and sums that the compiler fuses.
TOLERANCE = 1e-6


@pytest.fixture
def stream(cache: Path) -> Iterator[object]:
    made = []

    def make(augment_on_device: bool, **fields) -> DeviceInput:
        opened = Cache.open(cache)
        values = {"scale_axes": "in_plane", "scale_range": (0.8, 1.2), **fields}
        iterator = make_training_iterator(
            opened,
            opened.names,
            patch_size=PATCH,
            batch_size=3,
            channels=TASK.channels,
            centre_share=(0.34, 0.33, 0.33),
            mirror_probability=(0.5, 0.5, 0.5),
            seed=5,
            augment_on_device=augment_on_device,
            **values,
        )
        warp, appearance = extra(fields.get("augment"))
        augment = Augment(PATCH, warp, appearance) if augment_on_device else None
        made.append(DeviceInput(iterator, parallel.data_mesh(), augment))
        return made[-1]

    yield make
    for batches in made:
        batches.close()


@pytest.mark.parametrize(
    "fields", [{}, {"scale_axes": "all"}, {"scale_range": (1.0, 1.0)}, {"scale_range": (1.1, 1.3)}]
)
def test_device_and_host_give_the_same_batches(stream, fields):
    device, host = stream(True, **fields), stream(False, **fields)
    for _ in range(6):
        (sent, got), (reference, expected) = device.take(), host.take()
        np.testing.assert_array_equal(sent["case"], reference["case"])
        assert sent["image"].dtype == np.int16
        assert sent["labels"].dtype == np.uint8
        assert got.keys() == expected.keys() == {"image", "labels"}
        for name in expected:
            assert got[name].shape == expected[name].shape
            assert got[name].dtype == expected[name].dtype
        np.testing.assert_allclose(got["image"], expected["image"], rtol=0, atol=TOLERANCE)
        np.testing.assert_array_equal(got["labels"], expected["labels"])


def test_device_and_host_give_the_same_batches_of_every_augmentation(stream):
    augment = base_config().augment.to_dict()
    for section in augment.values():
        section["probability"] = 0.7
    device, host, plain = (stream(True, augment=augment), stream(False, augment=augment), stream(False))
    for _ in range(4):
        (_, got), (_, expected), (_, unchanged) = device.take(), host.take(), plain.take()
        # A place's last bits are worth more where the image is steep; a label may lie as near to two voxels.
        np.testing.assert_allclose(got["image"], expected["image"], rtol=0, atol=2e-3)
        assert np.abs(np.subtract(got["image"], expected["image"])).mean() < 1e-5
        assert np.mean(np.not_equal(got["labels"], expected["labels"])) < 1e-3
        assert np.abs(np.subtract(got["image"], unchanged["image"])).mean() > 0.01


def test_all_batches_share_one_program(stream):
    batches = stream(True)
    batches.take()
    compiled = parallel.compile_input(Augment(PATCH), parallel.data_mesh())
    programs = compiled._cache_size()
    for one in (batches, stream(True)):
        for _ in range(5):
            one.take()
    assert compiled._cache_size() == programs


@pytest.mark.parametrize("on_device", [False, True])
def test_the_state_is_that_of_what_was_taken(stream, on_device):
    reference = stream(on_device)
    expected = [reference.take()[0] for _ in range(4)]
    batches = stream(on_device)
    assert batches.get_state() == {"next_batch": 0}
    batches.take()
    batches.send_next()
    batches.send_next()
    assert batches.get_state() == {"next_batch": 1}

    resumed = stream(on_device)
    resumed.send_next()
    resumed.set_state(batches.get_state())
    for one in (batches, resumed):
        for batch in expected[1:]:
            np.testing.assert_equal(one.take()[0], batch)
        assert one.get_state() == {"next_batch": 4}


def test_each_device_augments_its_own_patches():
    """No collective: checked in the program for eight devices, in a process that has them."""
    script = (
        "import numpy as np\n"
        "from dsdenseunet.runtime import parallel\n"
        "from dsdenseunet.training.device_input import Augment\n"
        "shapes = {'image': ((12, 40, 40, 1), 'int16'), 'labels': ((12, 40, 40), 'uint8'),\n"
        "          'scaling': ((1, 5), 'float32'),\n"
        "          'below': ((72,), 'int32'), 'weight': ((72,), 'float32'), 'nearest': ((72,), 'int32')}\n"
        "batch = {name: np.zeros((16, *shape), dtype) for name, (shape, dtype) in shapes.items()}\n"
        "mesh = parallel.data_mesh()\n"
        "augment = parallel.compile_input(Augment((8, 32, 32)), mesh)\n"
        "text = augment.lower(parallel.place_batch(mesh, batch)).compile().as_text()\n"
        "assert 's16[2,12,40,40' in text, text\n"
        "found = [word for word in ('all-', 'collective', 'reduce-scatter') if word in text]\n"
        "assert not found, found\n"
        "print('eight', mesh.devices.size)\n"
    )
    output = tiny.run(
        [tiny.sys.executable, "-c", script],
        **tiny.devices(8),
    )
    assert "eight 8" in output


@pytest.fixture
def config(config: ConfigDict, tiny_network: None) -> ConfigDict:
    config.training.phase = "phase1"
    return config


def losses(workdir: Path) -> list[float]:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_device_and_host_give_the_same_training_curve(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config.phases.phase1.epochs = 6
    sent = []
    real = parallel.place_batch
    monkeypatch.setattr(
        parallel, "place_batch", lambda mesh, batch: sent.append(batch["image"].dtype) or real(mesh, batch)
    )
    for on_device in (True, False):
        config.data.augment_on_device = on_device
        cascade.run(config, tmp_path / str(on_device))
    assert sent == [np.int16] * 12 + [np.float32] * 12
    device, host = losses(tmp_path / "True"), losses(tmp_path / "False")
    np.testing.assert_allclose(device, host, rtol=1e-4)


def test_the_next_batch_leaves_and_the_next_step_is_dispatched_before_metrics_are_read(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config.phases.phase1.epochs = 1
    config.training.steps_per_epoch = 4
    events: list[str] = []

    def noted(event: str, function):
        def wrapped(*arguments, **named):
            events.append(event)
            return function(*arguments, **named)

        return wrapped

    compile_step = parallel.compile_step
    monkeypatch.setattr(parallel, "compile_step", lambda *args: noted("dispatch", compile_step(*args)))
    monkeypatch.setattr(parallel, "place_batch", noted("send", parallel.place_batch))
    monkeypatch.setattr(loop, "scalars", noted("read", loop.scalars))
    cascade.run(config, tmp_path)
    # Nothing is sent that no step of the phase takes.
    first, step = ["send", "dispatch", "send"], ["dispatch", "send", "read"]
    assert events == [*first, *step, *step, "dispatch", "read", "read"]


def test_a_signal_in_mid_epoch_saves_the_state_of_what_was_taken(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One batch is on its way by then; the run that goes on reads it again."""
    import signal

    from dsdenseunet.training.interruption import Interrupted

    config.training.steps_per_epoch = 4
    undisturbed, stopped = tmp_path / "undisturbed", tmp_path / "stopped"
    cascade.run(config, undisturbed)
    real = DeviceInput.take

    def interrupted(self: DeviceInput):
        taken = real(self)
        if self.get_state() == {"next_batch": 3}:
            signal.raise_signal(signal.SIGTERM)
        return taken

    with monkeypatch.context() as patch:
        patch.setattr(DeviceInput, "take", interrupted)
        with pytest.raises(Interrupted, match="phase1, step 3"):
            cascade.run(config, stopped)
    state = json.loads((stopped / "phase1/latest/3/data/metadata").read_text())
    assert set(state) == {"next_batch", "sha256"}
    assert state["next_batch"] == 3
    cascade.run(config, stopped)
    np.testing.assert_equal(tiny.final_arrays(stopped, "phase1"), tiny.final_arrays(undisturbed, "phase1"))
    assert losses(stopped) == losses(undisturbed)
