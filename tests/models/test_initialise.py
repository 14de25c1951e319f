"""The host's draw has the tree, types and distribution of Linen's own initialisers."""

import jax
import jax.numpy as jnp
import numpy as np

from dsdenseunet.models.dense_unet import DenseUNet3D

MODEL = DenseUNet3D(
    block_layers=(1, 1), growth_rate=8, bottleneck=16, stem_channels=8, decoder_channels=(8, 8, 8)
)


def test_tree_and_constant_values_are_those_of_linen():
    image = jnp.zeros((1, *MODEL.stride, 1))
    expected = jax.eval_shape(lambda x: MODEL.init(jax.random.key(0), x, train=False), image)
    got = MODEL.first_values()
    assert jax.tree.map(lambda a: (a.shape, a.dtype), got) == jax.tree.map(
        lambda a: (a.shape, a.dtype), expected
    )
    stem = got["params"]["stem"]
    assert set(stem["norm"]["scale"]) == {1.0}
    assert set(stem["norm"]["bias"]) == {0.0}
    assert set(got["batch_stats"]["stem"]["norm"]["var"]) == {1.0}
    # 7^3 kernel on one channel: standard deviation sqrt(2 / 343), from 2,744 draws.
    np.testing.assert_allclose(stem["conv"]["kernel"].std(), np.sqrt(2 / 343), rtol=0.05)


def test_seed_decides():
    first, again, other = (MODEL.first_values(seed)["params"]["head"]["conv"]["kernel"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_kernel_has_the_deviation_of_linens_own():
    image = jnp.zeros((1, *MODEL.stride, 1))
    linen = jax.jit(lambda key: MODEL.init(key, image, train=False))(jax.random.key(0))
    got = MODEL.first_values()
    for (path, ours), theirs in zip(
        jax.tree_util.tree_leaves_with_path(got["params"]), jax.tree.leaves(linen["params"]), strict=True
    ):
        if path[-1].key == "kernel":
            # A sample's deviation scatters by 1 / sqrt(2 n) around the true one: five of it for both.
            tolerance = 10 / np.sqrt(2 * ours.size)
            np.testing.assert_allclose(ours.std(), theirs.std(), rtol=tolerance, err_msg=str(path))


def test_first_convs_of_a_block_have_their_own_layers_fan_in():
    model = DenseUNet3D(
        block_layers=(2,), growth_rate=96, bottleneck=64, stem_channels=4, decoder_channels=(8, 8)
    )
    kernel = model.first_values()["params"]["block1"]["conv1"]["kernel"]
    np.testing.assert_allclose(kernel[:4].std(), np.sqrt(2 / 4), rtol=0.2)
    np.testing.assert_allclose(kernel[4:].std(), np.sqrt(2 / 100), rtol=0.05)
