"""What every network may rely on, with networks that use none of this package's layers."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.fields import integer
from dsdenseunet.models import registry
from dsdenseunet.models.dense_unet import DenseUNet3D
from dsdenseunet.models.network import Network, Outputs


class Plain(Network):
    """Two convolutions as Flax has them."""

    features: int
    stride = (1, 2, 2)
    checks: ClassVar = {"features": integer(1)}

    @nn.compact
    def __call__(self, image_BDHWC, train):
        x = nn.Conv(self.features, (3, 3, 3), name="first")(image_BDHWC)
        return Outputs(nn.Conv(self.num_classes, (1, 1, 1), bias_init=nn.initializers.constant(7.0))(x))


def test_first_values_are_the_modules_own():
    network = Plain(in_channels=2, num_classes=3, features=32)
    variables = network.first_values(seed=1)
    assert set(variables) == {"params"}
    np.testing.assert_array_equal(variables["params"]["Conv_0"]["bias"], [7, 7, 7])
    # Flax's default, LeCun's: variance 1 / fan_in, from 1,728 draws.
    kernel = variables["params"]["first"]["kernel"]
    np.testing.assert_allclose(kernel.std(), np.sqrt(1 / 54), rtol=0.1)
    assert not np.array_equal(kernel, network.first_values(seed=2)["params"]["first"]["kernel"])


def test_a_family_is_one_line(monkeypatch):
    monkeypatch.setitem(registry.FAMILIES, "plain", Plain)
    fields = {"family": "plain", "in_channels": 1, "num_classes": 2, "features": 4}
    assert registry.build(fields) == Plain(in_channels=1, num_classes=2, features=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"growth_rate": 4}, "a field of plain"),
        ({"features": 0}, "an integer >= 1"),
        ({"features": None}, "an integer >= 1"),
    ],
)
def test_fields_are_the_familys_own(monkeypatch, change, message):
    monkeypatch.setitem(registry.FAMILIES, "plain", Plain)
    with pytest.raises(InputError, match=message):
        registry.build({"family": "plain", "in_channels": 1, "num_classes": 2, "features": 4, **change})


def test_coarser_outputs_are_computed_in_training_only():
    model = DenseUNet3D(
        block_layers=(1, 1),
        growth_rate=4,
        bottleneck=8,
        stem_channels=6,
        decoder_channels=(9, 7, 5),
        auxiliary_outputs=2,
    )
    variables = model.first_values()
    image = jnp.zeros((1, 4, 16, 8, 1))
    shapes = jax.eval_shape(lambda v: model.apply(v, image, train=True, mutable=["batch_stats"]), variables)
    outputs, _ = shapes
    assert outputs.logits.shape == (1, 4, 16, 8, 3)
    assert [coarse.shape for coarse in outputs.auxiliary] == [(1, 2, 8, 4, 3), (1, 1, 4, 2, 3)]
    assert jax.eval_shape(lambda v: model.apply(v, image, train=False), variables).auxiliary == ()
