import dataclasses
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsdenseunet.data import intensity
from dsdenseunet.inference import predict
from dsdenseunet.inference.predict import NonFiniteOutputError, Predictor
from dsdenseunet.models.network import Outputs
from dsdenseunet.tasks.channel import scaling_of
from dsdenseunet.tasks.lits import TASK


class Threshold(nn.Module):
    """One voxel in, three logits out: background below 0, liver up to 0.5, tumour above."""

    @nn.compact
    def __call__(self, image_BDHWC, train):
        shift = self.param("shift", nn.initializers.zeros, ())
        value = image_BDHWC[..., 0] + shift
        return Outputs(jnp.stack([jnp.zeros_like(value), value, 3 * value - 1], axis=-1) * 20)


class Lopsided(nn.Module):
    """Looks at the voxel to the left: not the same on a mirrored image."""

    @nn.compact
    def __call__(self, image_BDHWC, train):
        left = jnp.roll(image_BDHWC[..., 0], 1, axis=3)
        return Outputs(jnp.stack([jnp.zeros_like(left), left, 2 * left - 1], axis=-1))


class Broken(nn.Module):
    """Says a value that no label can come from where the image is bright."""

    value: float

    @nn.compact
    def __call__(self, image_BDHWC, train):
        weight = self.param("weight", nn.initializers.ones, ())
        bright = image_BDHWC * weight > 0.9
        return Outputs(jnp.concatenate([jnp.where(bright, self.value, 0.0), image_BDHWC], axis=-1))


def predictor(model=None, **options):
    model = model or Threshold()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 4, 8, 8, 1)), train=False)
    return Predictor(model, variables, (4, 8, 8), **{"task": TASK, **options})


def expected_labels(image):
    value = (np.clip(image, -200, 250) + 200) * (2 / 450) - 1
    return np.where(value <= 0, 0, np.where(value < 0.5, 1, 2))


@pytest.mark.parametrize("shape", [(4, 8, 8), (9, 20, 13), (2, 5, 30), (1, 1, 1)])
@pytest.mark.parametrize("options", [{}, {"mirror_axes": (0, 1, 2)}, {"overlap": 0.0, "batch_size": 3}])
def test_segments_by_value_whatever_the_shape(shape, options):
    image = np.random.default_rng(1).integers(-1000, 1000, shape).astype(np.int16)
    labels = predictor(**options).segment(image)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, expected_labels(image))


def test_normalises_as_the_training_pipeline_does():
    class Reveal(nn.Module):
        @nn.compact
        def __call__(self, image_BDHWC, train):
            return Outputs(jnp.concatenate([image_BDHWC, jnp.zeros_like(image_BDHWC)], axis=-1))

    image = np.linspace(-1024, 3000, 4 * 8 * 8).astype(np.int16).reshape(1, 4, 8, 8)
    ((_, shown),) = Predictor(Reveal(), {}, (4, 8, 8), TASK).probabilities(image[0])
    normalised = intensity.normalise(image[0, ..., None], scaling_of(TASK.channels, [()]))[..., 0]
    np.testing.assert_allclose(shown[..., 0], jax.nn.sigmoid(normalised), atol=1e-6)


def test_mirroring_averages_over_all_combinations():
    """By hand: mirror the image, predict, mirror back; the mean over the four combinations."""
    image = np.random.default_rng(2).integers(-300, 300, (4, 8, 8)).astype(np.int16)
    plain = predictor(Lopsided())
    parts = []
    for axes in [(), (1,), (2,), (1, 2)]:
        ((_, probabilities),) = plain.probabilities(np.flip(image, axes))
        parts.append(np.flip(probabilities, axes))
    ((_, averaged),) = predictor(Lopsided(), mirror_axes=(1, 2)).probabilities(image)
    np.testing.assert_allclose(averaged, np.mean(parts, axis=0), atol=1e-6)
    assert np.abs(np.asarray(averaged) - parts[0]).max() > 0.01


def test_a_network_is_compiled_once_whatever_the_volumes_weights_and_mirroring():
    predict.class_probabilities.clear_cache()
    first = predictor()
    other = dataclasses.replace(first, variables=jax.tree.map(lambda leaf: leaf + 0.1, first.variables))
    for shape, one in itertools.product([(4, 8, 8), (9, 20, 13)], [first, other]):
        dataclasses.replace(one, mirror_axes=(0, 2)).segment(np.zeros(shape, np.int16))
    assert predict.class_probabilities._cache_size() == 1


def test_slices_come_in_order_and_progress_counts_them():
    image = np.zeros((11, 9, 9), np.int16)
    seen = []
    predictor().segment(image, progress=seen.append)
    assert sum(seen) == 11
    assert len(seen) > 1


def test_memory_map_is_as_good_as_an_array(tmp_path):
    image = np.random.default_rng(3).integers(-300, 300, (9, 10, 11)).astype(np.int16)
    mapped = np.memmap(tmp_path / "image", np.int16, "w+", shape=image.shape)
    mapped[:] = image
    np.testing.assert_array_equal(predictor().segment(mapped), predictor().segment(image))


def test_clean_up_follows_the_options():
    image = np.full((4, 8, 20), -200, np.int16)
    image[:, :, :6] = 100
    image[:, :3, 12] = 240
    assert predictor().segment(image).max() == 2
    largest = dataclasses.replace(TASK, clean_up=(("largest", "liver"),))
    assert predictor(task=largest).segment(image).max() == 1
    near = predictor(task=dataclasses.replace(TASK, clean_up=(("within", "tumour", "liver", 7.0),)))
    assert near.segment(image, (5.0, 1.0, 1.0)).max() == 2
    assert near.segment(image, (5.0, 1.0, 1.5)).max() == 1
    with pytest.raises(ValueError, match="spacing_mm"):
        near.segment(image)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("at", [(0, 0, 0), (5, 7, 12), (10, 19, 12)])
def test_a_network_that_says_no_number_ends_in_an_error_not_in_background(value, at):
    image = np.full((11, 20, 13), -200, np.int16)
    image[at] = 250
    with pytest.raises(NonFiniteOutputError, match=rf"voxels: 1, the first in slice {at[0]}\)$"):
        predictor(Broken(value)).segment(image)


def test_weights_that_are_no_numbers_are_named():
    broken = predictor()
    broken = dataclasses.replace(broken, variables={"params": {"shift": np.float32(np.nan)}})
    with pytest.raises(NonFiniteOutputError, match="weights are not finite: params/shift") as error:
        broken.segment(np.zeros((9, 8, 8), np.int16))
    assert error.value.weights == ["params/shift"]
