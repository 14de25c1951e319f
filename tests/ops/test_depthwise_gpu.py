"""The kernels on the GPU that is here: `make test-gpu`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.ops.depthwise import depthwise_conv
from dsdenseunet.ops.depthwise_choice import Device
from experiments.benchmarks.measuring.shapes import depthwise_cases

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif((Device.present().capability or (0, 0)) < (8, 0), reason="without a GPU from 8.0 on"),
]
# Of the largest value. Shifted sums are elementwise: no TF32 in them.
TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("shape", "features", "stride"), depthwise_cases(get_config("ds").to_dict()))
@pytest.mark.parametrize("batch", [1, 2])
def test_kernels_equal_shifted_sums_and_themselves(shape, features, stride, batch, dtype):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (batch, *shape))
    kernel = jax.random.normal(keys[1], (3, 3, 3, 1, features))
    out = [-(-n // s) for n, s in zip(shape, stride)]
    gradient = jax.random.normal(keys[2], (batch, *out, features))

    def both(form, *arrays):
        def run(x, kernel, gradient):
            y, pull = jax.vjp(lambda x, kernel: depthwise_conv(x, kernel, stride, form), x, kernel)
            return y, *pull(gradient)

        return [np.asarray(array, np.float32) for array in jax.jit(run)(*arrays)]

    rounded = [array.astype(jnp.dtype(dtype)) for array in (x, kernel, gradient)]
    got = both("pallas", *rounded)
    expected = both("shifted", *(array.astype(jnp.float32) for array in rounded))
    for again, a, b in zip(both("pallas", *rounded), got, expected, strict=True):
        assert np.abs(a - b).max() <= TOLERANCES[dtype] * np.abs(b).max()
        np.testing.assert_array_equal(a, again)
