"""A dense U-Net of the family written down with JAX's and Flax's own functions, on the same arrays."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax


class Plain:
    """`Branch` on the arrays of its stages, each of whose layers is one plain call."""

    def __init__(self, variables, dimensions, train, prefix=""):
        self.params, self.statistics = variables["params"], variables["batch_stats"]
        self.prefix, self.train = prefix, train
        self.space = (2, 2, 2) if dimensions == 3 else (1, 2, 2)

    def __call__(self, x, link):
        stem = self.params[self.prefix + "stem"]
        x = self.norm(conv(x, stem["conv"], self.space), "stem", "norm", epsilon=1.1e-5)
        skips = [x]
        window, edge = tuple(2 * s - 1 for s in self.space), [(s - 1, s - 1) for s in self.space]
        x = nn.max_pool(x, window, self.space, edge)
        for number in range(1, 1 + len([name for name in self.params if self.is_block(name)])):
            if number > 1:
                skips.append(x)
                x = self.norm(x, f"transition{number - 1}", "norm", epsilon=1.1e-5)
                x = conv(x, self.params[f"{self.prefix}transition{number - 1}"]["conv"])
                x = nn.avg_pool(x, (1, 2, 2), (1, 2, 2))
            name = f"block{number}"
            for layer, weights in sorted(self.params[self.prefix + name].items()):
                y = self.norm(x, name, layer, "norm1", epsilon=1.1e-5)
                y = self.norm(conv(y, weights["conv1"]), name, layer, "norm2", epsilon=1.1e-5)
                x = jnp.concatenate([x, conv(y, weights["conv2"])], -1)
        x = self.norm(x, "norm", epsilon=1.1e-5)
        ups = sorted(name for name in self.params if name.startswith(f"{self.prefix}up"))
        for count, name in enumerate(ups, start=1):
            factors = self.space if count > len(ups) - 2 else (1, 2, 2)
            for axis, factor in enumerate(factors, start=1):
                x = jnp.repeat(x, factor, axis)
            skip = skips.pop() if skips else None
            if skip is not None and "project" in self.params[name]:
                skip = conv(skip, self.params[name]["project"])
            if skip is not None and link == "before":
                x = x + skip
            x = conv(x, self.params[name]["conv"])
            x = self.norm(x, name.removeprefix(self.prefix), "norm", epsilon=1e-3)
            if skip is not None and link == "after":
                x = x + skip
        return x

    def is_block(self, name):
        return name.startswith(f"{self.prefix}block")

    def norm(self, x, stage, *path, epsilon):
        own, stored = self.params[self.prefix + stage], self.statistics[self.prefix + stage]
        for part in path:
            own, stored = own[part], stored[part]
        mean, var = stored["mean"], stored["var"]
        if self.train:
            mean, var = x.mean((0, 1, 2, 3)), x.var((0, 1, 2, 3))
        x = (x - mean) / jnp.sqrt(var + epsilon) * own["scale"] + own["bias"]
        return nn.relu(x * own["gamma"] + own["beta"] if "gamma" in own else x)


def conv(x, weights, stride=(1, 1, 1)):
    kernel = weights["kernel"]
    edge = [(k // 2, k // 2) for k in kernel.shape[:3]]
    y = lax.conv_general_dilated(x, kernel, stride, edge, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))
    return y + weights.get("bias", 0.0)


def with_noise(variables):
    """Other values than those in which a layer left out would not show; variances stay positive."""
    leaves, structure = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(3), len(leaves))
    noisy = [leaf + 0.2 * jax.random.uniform(key, leaf.shape) for leaf, key in zip(leaves, keys)]
    return jax.tree.unflatten(structure, noisy)
