"""What is timed of ours: single convolutions in their forms; and the kernel for GPUs against plain sums."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from dsdenseunet.ops.conv import conv3d, direct_conv
from dsdenseunet.ops.depthwise import Implementation, depthwise_conv, transposed_depthwise_conv
from experiments.benchmarks.measuring.inputs import convolution_inputs

Arrays = tuple[jax.Array, jax.Array, jax.Array]
_NAMES = ("y", "input_gradient", "filter_gradient")


class Convolution:
    """One convolution, forward or forward and backward; the counterpart of `torch_tasks.Convolution`.

    Args:
        shape_DHWC: of the input.
        features: channels of the output.
        form: `auto`, `grouped`, `shifted` or `pallas` (depthwise; transposed: `auto` or `grouped`), `conv3d`
            or `direct` (full).
        stride: along (D, H, W).
        backward: also the gradients by input and kernel.
        dtype: of all arrays.
        repeats: passes in one call, each on the results of the one before, so that a device's way to start
            a program does not count.
        batch: maps at once.
        size: side of the kernel.
        transposed: the transposed convolution, of whose output the stride is; depthwise only.
    """

    def __init__(
        self,
        shape_DHWC: tuple[int, ...],
        features: int,
        form: str,
        stride: tuple[int, int, int],
        backward: bool,
        dtype: str = "float32",
        repeats: int = 1,
        batch: int = 1,
        size: int = 3,
        transposed: bool = False,
    ):
        full = {"conv3d": conv3d, "direct": direct_conv}
        depthwise: Callable[..., jax.Array] = functools.partial(
            depthwise_conv, implementation=cast(Implementation, form)
        )
        if transposed:
            depthwise = {"auto": transposed_depthwise_conv, "grouped": grouped_transposed}[form]
        convolve = functools.partial(full.get(form, depthwise), stride=stride)
        kernel_shape = (size, size, size, shape_DHWC[-1] if form in full else 1, features)
        arrays = convolution_inputs(shape_DHWC, kernel_shape, stride, features, batch, transposed)
        self._arrays = [jax.device_put(array.astype(jnp.dtype(dtype))) for array in arrays]

        def forward(x: jax.Array, kernel: jax.Array, _: jax.Array) -> tuple[jax.Array, ...]:
            return (convolve(x, kernel),)

        def both(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, ...]:
            y, pull = jax.vjp(convolve, x, kernel)
            return y, *pull(gradient)

        once = both if backward else forward

        def repeated(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> Arrays:
            # About the square root of the number of taps: what goes round neither grows nor vanishes fast.
            small = kernel / 6

            def again(_: int, arrays: Arrays) -> Arrays:
                x, used, gradient = arrays
                y, *gradients = once(x, used, gradient)
                if backward:
                    return gradients[0], small + 0 * gradients[1], y
                return x, small + 0 * y[0, 0, 0, 0], gradient

            return jax.lax.fori_loop(0, repeats, again, (x, small, gradient))

        self._once = jax.jit(once)
        self._compute = jax.jit(repeated) if repeats > 1 else self._once

    def run(self) -> None:
        """One call: `repeats` passes."""
        jax.block_until_ready(self._compute(*self._arrays))

    def outputs(self) -> dict[str, np.ndarray]:
        """Of one pass: `y`, and where backward `input_gradient` and `filter_gradient`, as float32."""
        results = self._once(*self._arrays)
        return {name: np.asarray(array, np.float32) for name, array in zip(_NAMES, results)}


def grouped_transposed(x_BDHWC: jax.Array, kernel: jax.Array, stride: tuple[int, int, int]) -> jax.Array:
    """`transposed_depthwise_conv` by XLA's grouped convolution of a map with zeros between its voxels."""
    return jax.lax.conv_general_dilated(
        x_BDHWC,
        kernel[::-1, ::-1, ::-1],
        window_strides=(1, 1, 1),
        padding=[(side // 2, side // 2) for side in kernel.shape[:3]],
        lhs_dilation=stride,
        feature_group_count=kernel.shape[-1],
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )


class KernelPair:
    """The kernel for GPUs and plain shifted sums on the same rounded numbers, forward and backward.

    Args:
        shape_DHWC: of the input.
        features: channels.
        stride: along (D, H, W).
        dtype: of the kernel's arrays; the sums are in float32.
    """

    def __init__(self, shape_DHWC: tuple[int, ...], features: int, stride: tuple[int, int, int], dtype: str):
        arrays = convolution_inputs(shape_DHWC, (3, 3, 3, 1, features), stride, features)
        self._arrays = [jax.device_put(array.astype(jnp.dtype(dtype))) for array in arrays]
        self._stride = stride

    def run(self) -> None:
        """Nothing is timed."""

    def outputs(self) -> dict[str, np.ndarray]:
        """Of `y`, `input_gradient`, `filter_gradient` the largest difference as a share of the largest value.

        `same_bits`: whether the kernel gives the same bits when it runs again.
        """
        exact = [array.astype(jnp.float32) for array in self._arrays]
        expected = self._both("shifted", exact)
        got, again = (self._both("pallas", self._arrays) for _ in range(2))
        found = {
            name: np.asarray(np.abs(a - b).max() / np.abs(b).max())
            for name, a, b in zip(_NAMES, got, expected)
        }
        return {**found, "same_bits": np.asarray(all(map(np.array_equal, got, again)))}

    def _both(self, form: Implementation, arrays: list[jax.Array]) -> list[np.ndarray]:
        results = _value_and_gradients(form, self._stride, *arrays)
        return [np.asarray(array, np.float32) for array in results]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _value_and_gradients(
    form: Implementation,
    stride: tuple[int, int, int],
    x: jax.Array,
    kernel: jax.Array,
    gradient: jax.Array,
) -> tuple[jax.Array, ...]:
    y, pull = jax.vjp(lambda x, kernel: depthwise_conv(x, kernel, stride, form), x, kernel)
    return y, *pull(gradient)
