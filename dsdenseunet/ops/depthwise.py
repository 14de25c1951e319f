"""Depthwise 3D convolution: the grouped reference and fast equal forms."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsdenseunet.ops import depthwise_choice
from dsdenseunet.ops.axes import met_by, pad_for
from dsdenseunet.ops.cpu import depthwise_filter, depthwise_sums

Implementation = Literal["auto", "grouped", "shifted", "pallas"]
Stride = tuple[int, int, int]
_DIMENSIONS = ("NDHWC", "DHWIO", "NDHWC")


def depthwise_conv(
    x_BDHWC: Array, kernel: Array, stride: Stride = (1, 1, 1), implementation: Implementation = "auto"
) -> Array:
    """Convolves each channel with its own kernel, padded by k // 2 on both sides.

    Args:
        x_BDHWC: input.
        kernel: (kd, kh, kw, 1, C), odd sides: the shape that `feature_group_count=C` asks for.
        stride: step along (D, H, W).
        implementation: `grouped` is `lax.conv_general_dilated`, the reference; `shifted` sums one
            multiply-add a tap; `pallas` is a kernel for NVIDIA GPUs of compute capability 8.0 and above
            (elsewhere it is interpreted, for tests); `auto` is what the table of `ops.depthwise_choice` says.

    Returns:
        (B, ceil(D / sd), ceil(H / sh), ceil(W / sw), C), of the input's type.
    """
    if implementation == "auto":
        device = depthwise_choice.Device.present()
        chosen = depthwise_choice.fastest(x_BDHWC.shape, x_BDHWC.dtype.name, stride, device)
    else:
        chosen = implementation
    if chosen == "grouped":
        return _grouped(x_BDHWC, kernel, stride)
    if chosen == "pallas":
        # A JAX without Triton must still be able to import this module.
        from dsdenseunet.ops.gpu.depthwise_pallas import depthwise_pallas

        return depthwise_pallas(x_BDHWC, kernel, stride)
    return _shifted(x_BDHWC, kernel, stride)


def transposed_depthwise_conv(x_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    """The transpose of `depthwise_conv`: hands each voxel to all those that it would be computed from.

    As PyTorch's transposed convolutions with a padding of k // 2, of whose kernels these are the same.

    Args:
        x_BDHWC: input.
        kernel: (kd, kh, kw, 1, C), odd sides.
        stride: step along (D, H, W), in the output.

    Returns:
        (B, (D - 1) sd + 1, (H - 1) sh + 1, (W - 1) sw + 1, C), of the input's type.
    """
    return _transposed(x_BDHWC, kernel, stride)


def _grouped(x_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    return lax.conv_general_dilated(
        x_BDHWC,
        kernel,
        window_strides=stride,
        padding=[(k // 2, k // 2) for k in kernel.shape[:3]],
        feature_group_count=kernel.shape[-1],
        dimension_numbers=_DIMENSIONS,
    )


def _taps(
    padded_BDHWC: Array, kernel: Array, stride: Stride, out_DHW: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Yields each kernel position with the input voxels that it meets, one per output voxel."""
    for tap in itertools.product(*(range(k) for k in kernel.shape[:3])):
        yield tap, met_by(padded_BDHWC, tap, stride, out_DHW)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _shifted(x_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    out_DHW = tuple(-(-n // s) for n, s in zip(x_BDHWC.shape[1:4], stride))
    return _sum(pad_for(x_BDHWC, kernel.shape), kernel, stride, out_DHW)


def _sum(padded_BDHWC: Array, kernel: Array, stride: Stride, out_DHW: tuple[int, ...]) -> Array:
    """Of all taps the input voxels times the kernel."""

    def at_once(padded_BDHWC: Array, kernel: Array) -> Array:
        taps = _taps(padded_BDHWC, kernel, stride, out_DHW)
        return functools.reduce(jnp.add, (values * kernel[(*tap, 0)] for tap, values in taps))

    if math.prod(kernel.shape[:3]) <= depthwise_sums.MOST_TAPS:
        return at_once(padded_BDHWC, kernel)
    on_cpu = functools.partial(depthwise_sums.by_planes, stride=stride, out_DHW=out_DHW)
    return lax.platform_dependent(padded_BDHWC, kernel, cpu=on_cpu, default=at_once)


def _shifted_forward(x_BDHWC: Array, kernel: Array, stride: Stride) -> tuple[Array, tuple[Array, Array]]:
    return _shifted(x_BDHWC, kernel, stride), (x_BDHWC, kernel)


def _shifted_backward(
    stride: Stride, residuals: tuple[Array, Array], gradient_BDHWC: Array
) -> tuple[Array, Array]:
    x_BDHWC, kernel = residuals
    return (
        _input_gradient(gradient_BDHWC, kernel, stride, x_BDHWC.shape),
        _filter_gradient(x_BDHWC, gradient_BDHWC, kernel, stride),
    )


def _input_gradient(gradient_BDHWC: Array, kernel: Array, stride: Stride, shape: tuple[int, ...]) -> Array:
    """Sums of shifted gradients; each phase of the stride meets its own taps of the kernel."""
    padded = pad_for(gradient_BDHWC, kernel.shape)
    if stride == (1, 1, 1):
        return _sum(padded, kernel[::-1, ::-1, ::-1], stride, shape[1:4])
    batch, *out, channels = gradient_BDHWC.shape
    margins = [k // 2 for k in kernel.shape[:3]]
    phases = []
    for phase in itertools.product(*(range(s) for s in stride)):
        # Input voxel s * n + phase meets tap t of output voxel n - (t - k // 2) // s.
        axes = [
            [(t, m - (t - m) // s) for t in range(k) if (t - m) % s == p]
            for k, m, s, p in zip(kernel.shape[:3], margins, stride, phase)
        ]
        total = jnp.zeros(gradient_BDHWC.shape, gradient_BDHWC.dtype)
        for steps in itertools.product(*axes):
            taps, starts = zip(*steps)
            stops = [start + n for start, n in zip(starts, out)]
            values = lax.slice(padded, (0, *starts, 0), (batch, *stops, channels))
            total += values * kernel[(*taps, 0)]
        phases.append(total)
    # (sd, sh, sw, B, D, H, W, C) -> (B, D, sd, H, sh, W, sw, C)
    split = jnp.stack(phases).reshape(*stride, *gradient_BDHWC.shape).transpose(3, 4, 0, 5, 1, 6, 2, 7)
    whole = split.reshape(batch, *(n * s for n, s in zip(out, stride)), channels)
    return whole[:, : shape[1], : shape[2], : shape[3]]


def _filter_gradient(x_BDHWC: Array, gradient_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    """For each tap the sum over all output voxels of input times gradient, in float32."""
    padded = pad_for(x_BDHWC, kernel.shape)
    by_tap = functools.partial(_filter_gradient_by_tap, kernel=kernel, stride=stride)
    form = depthwise_filter.fastest(gradient_BDHWC.shape, stride)

    def on_cpu(padded: Array, gradient_BDHWC: Array) -> Array:
        return form(padded, gradient_BDHWC, kernel.shape[:3], stride)

    sums = lax.platform_dependent(padded, gradient_BDHWC, cpu=on_cpu, default=by_tap)
    return sums.reshape(kernel.shape).astype(kernel.dtype)


def _filter_gradient_by_tap(padded: Array, gradient_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    """(taps, C): one reduction a tap, which GPUs do well and XLA's CPU backend does not vectorise."""
    gradient = gradient_BDHWC.astype(jnp.float32)
    taps = _taps(padded.astype(jnp.float32), kernel, stride, gradient_BDHWC.shape[1:4])
    return jnp.stack([jnp.sum(values * gradient, axis=(0, 1, 2, 3)) for _, values in taps])


_shifted.defvjp(_shifted_forward, _shifted_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _transposed(x_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    batch, *sides, channels = x_BDHWC.shape
    shape = (batch, *((n - 1) * s + 1 for n, s in zip(sides, stride)), channels)
    return _input_gradient(x_BDHWC, kernel, stride, shape)


def _transposed_forward(x_BDHWC: Array, kernel: Array, stride: Stride) -> tuple[Array, tuple[Array, Array]]:
    return _transposed(x_BDHWC, kernel, stride), (x_BDHWC, kernel)


def _transposed_backward(
    stride: Stride, residuals: tuple[Array, Array], gradient_BDHWC: Array
) -> tuple[Array, Array]:
    x_BDHWC, kernel = residuals
    # Input and output change places.
    return (
        _shifted(gradient_BDHWC, kernel, stride),
        _filter_gradient(gradient_BDHWC, x_BDHWC, kernel, stride),
    )


_transposed.defvjp(_transposed_forward, _transposed_backward)
