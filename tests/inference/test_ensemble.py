"""Several runs as one: the mean of their class probabilities."""

import dataclasses

import jax
import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.inference import ensemble
from dsdenseunet.inference.predict import NonFiniteOutputError, Predictor
from dsdenseunet.models import registry
from dsdenseunet.tasks.lits import TASK
from tests.training.tiny import TinyNet, get_config

MODEL = TinyNet()


def run(seed=0, **inference):
    """Config and variables of a run with random weights."""
    config = get_config()
    config.data.patch_size = (4, 32, 32)
    config.inference.update(inference)
    return config, MODEL.first_values(seed)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(registry, "build", lambda model: MODEL)


def image(shape=(11, 40, 35)):
    return np.random.default_rng(0).integers(-500, 500, shape).astype(np.int16)


def together(segmenter, array):
    """Probabilities (D, H, W, C) of a whole volume."""
    parts = list(segmenter.probabilities(array))
    assert [first for first, _ in parts] == list(np.cumsum([0, *(len(part) for _, part in parts[:-1])]))
    return np.concatenate([np.asarray(part) for _, part in parts])


def test_two_runs_give_the_average_computed_by_hand():
    runs = {"a": run(0), "b": run(1)}
    alone = [together(ensemble.of_runs({name: one}), image()) for name, one in runs.items()]
    averaged = together(ensemble.of_runs(runs), image())
    np.testing.assert_array_equal(averaged, (alone[0] + alone[1]) / 2)
    assert np.abs(averaged - alone[0]).max() > 0.01


@pytest.mark.parametrize("shape", [(11, 40, 35), (3, 20, 50), (17, 16, 16)])
def test_patches_overlap_and_mirroring_may_differ(shape):
    first, second, third = run(0), run(1, overlap=0.25), run(2, mirror_axes=(2,), batch_size=3)
    second[0].data.patch_size = (8, 16, 32)
    third[0].data.patch_size = (6, 32, 16)
    runs = {"a": first, "b": second, "c": third}
    alone = [together(ensemble.of_runs({name: one}), image(shape)) for name, one in runs.items()]
    averaged = together(ensemble.of_runs(runs), image(shape))
    np.testing.assert_allclose(averaged, np.mean(alone, axis=0), rtol=1e-6, atol=1e-7)
    labels = ensemble.of_runs(runs).network_labels(image(shape))
    np.testing.assert_array_equal(labels, averaged.argmax(axis=-1))


def test_normalisation_may_differ():
    runs = {"a": run(0), "b": run(0)}
    runs["b"][0].task.channels = (("CT", "window", -100.0, 300.0),)
    alone = [together(ensemble.of_runs({name: one}), image()) for name, one in runs.items()]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    np.testing.assert_array_equal(together(ensemble.of_runs(runs), image()), (alone[0] + alone[1]) / 2)


def test_a_run_given_twice_counts_once():
    one = ensemble.of_runs({"a": run(0)})
    twice = ensemble.of_runs({"a": run(0), "copy of a": run(0)})
    assert isinstance(twice, Predictor)
    np.testing.assert_array_equal(together(twice, image()), together(one, image()))


def test_the_order_of_three_runs_changes_no_bit():
    runs = {name: run(seed) for seed, name in enumerate("abc")}
    forth = ensemble.of_runs(runs)
    back = ensemble.of_runs(dict(reversed(runs.items())))
    np.testing.assert_array_equal(together(forth, image()), together(back, image()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", ("background", "heart", "tumour")),
        ("channels", (("MR", "zscore"),)),
        ("channels", (("CT", "zscore"),)),
        ("regions", (("liver", (1,)), ("tumour", (2,)))),
        ("clean_up", (("largest", "liver"),)),
    ],
)
def test_other_tasks_are_refused_by_both_runs_and_the_field(field, value):
    runs = {"runs/a": run(0), "runs/b": run(1)}
    runs["runs/b"][0].task[field] = value
    with pytest.raises(InputError) as error:
        ensemble.of_runs(runs)
    said = str(error.value)
    assert "--workdir=runs/a" in said and "--workdir=runs/b" in said and f"config.task.{field}" in said


def test_the_mean_is_compared_with_thresholds_that_runs_have_in_common():
    thresholds = (0.33, 0.36)
    runs = {"a": run(0, thresholds=thresholds), "b": run(1, thresholds=thresholds)}
    segmenter = ensemble.of_runs(runs)
    mean = together(segmenter, image())
    expected = np.where(mean[..., 2] >= np.float32(0.36), 2, mean[..., 1] >= np.float32(0.33))
    assert set(np.unique(expected)) == {0, 1, 2}
    np.testing.assert_array_equal(segmenter.network_labels(image()), expected)
    runs["b"][0].inference.thresholds = ()
    with pytest.raises(InputError, match=r"config.inference.thresholds = \(\)"):
        ensemble.of_runs(runs)


def test_what_does_not_change_probabilities_may_differ():
    runs = {"a": run(0), "b": run(1)}
    runs["b"][0].task.name = "the same by another name"
    runs["b"][0].task.select_by = ("liver",)
    assert len(ensemble.of_runs(runs).members()) == 2


def test_weights_that_are_no_numbers_are_named_with_their_run():
    runs = {"a": run(0), "b": run(1)}
    runs["b"][1]["params"]["Conv_0"]["bias"] = np.full(4, np.nan, np.float32)
    with pytest.raises(NonFiniteOutputError) as error:
        ensemble.of_runs(runs).segment(image())
    assert error.value.weights == ["b/params/Conv_0/bias"]


def test_finished_slabs_do_not_pile_up():
    """Of each stream one piece is ahead, however much deeper the patches of the other are."""
    taken = {"shallow": 0, "deep": 0}

    def counted(name, stream):
        for piece in stream:
            taken[name] += 1
            yield piece

    config, variables = run(0)
    shallow = Predictor.of(config, MODEL, variables)
    deep = dataclasses.replace(shallow, patch_size=(16, 32, 32), overlap=0.0)
    array = image((32, 32, 32))
    streams = {"shallow": shallow, "deep": deep}
    merged = ensemble.mean([counted(name, one.pieces(array)) for name, one in streams.items()])
    for piece in merged:
        ends = piece.first + piece.values[piece.keep].shape[0]
        # Patches of 4 slices finish 2 of them each, those of 16 all.
        assert taken["shallow"] <= ends // 2 + 1 and taken["deep"] <= -(-ends // 16)


def test_an_ensemble_stays_on_its_device():
    device = jax.devices()[0]
    moved = ensemble.of_runs({"a": run(0), "b": run(1)}).on(device)
    assert all(member.device == device for member in moved.members().values())
    assert moved.task == TASK
