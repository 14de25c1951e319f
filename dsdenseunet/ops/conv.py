"""Full 3D convolutions on channels-last volumes, padded by k // 2 on both sides."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsdenseunet.ops.cpu import tapwise, unfolded, winograd

Stride = tuple[int, int, int]
Gradients = tuple[Array, Array]

# Tiles from which the Winograd form beats the others: with fewer, each transformed weight is used too seldom.
# Measured on two AVX-512 cores as 100 while it had two planes of zeros more, and carried over: not measured
# again. 3D-DenseUNet-569 has 48 tiles, which go tap by tap, and from 147 on.
_TILES_FOR_WINOGRAD = 80
# Measured there, too: one side of a convolution has few channels, and is worth unfolding, up to this share of
# the other's; of the input's this holds with a stride, without one Winograd's form gives way only to the
# smaller share.
_FEW, _VERY_FEW = 0.3, 0.1


def conv3d(x_BDHWC: Array, kernel: Array, stride: Stride = (1, 1, 1)) -> Array:
    """Cross-correlates every input channel with every output channel.

    On CPUs, float32 maps take the form that `form_on_cpu` names; everything else is
    `lax.conv_general_dilated`.

    Args:
        x_BDHWC: input.
        kernel: (kd, kh, kw, C_in, C_out), odd sides.
        stride: step along (D, H, W).

    Returns:
        (B, ceil(D / sd), ceil(H / sh), ceil(W / sw), C_out), of the input's type.
    """
    if x_BDHWC.dtype == jnp.float32:
        return _conv(x_BDHWC, kernel, stride)
    return direct_conv(x_BDHWC, kernel, stride)


def direct_conv(x_BDHWC: Array, kernel: Array, stride: Stride = (1, 1, 1)) -> Array:
    """`lax.conv_general_dilated`, the reference for `conv3d`."""
    return lax.conv_general_dilated(
        x_BDHWC,
        kernel,
        window_strides=stride,
        padding=[(k // 2, k // 2) for k in kernel.shape[:3]],
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )


def pointwise_conv(x_BDHWC: Array, kernel: Array) -> Array:
    """A 1^3 convolution as one matrix product; `kernel` is (1, 1, 1, C_in, C_out).

    Of two matrices: for the kernel's gradient XLA's CPU backend would write a product's gradient of five axes
    out transposed first, and take three times as long.
    """
    rows = jnp.dot(x_BDHWC.reshape(-1, x_BDHWC.shape[-1]), kernel[0, 0, 0])
    return rows.reshape(*x_BDHWC.shape[:-1], -1)


# The platform is chosen inside the rules of differentiation: a gradient through `platform_dependent` would
# keep what every branch needs.
@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    return lax.platform_dependent(
        x_BDHWC,
        kernel,
        cpu=functools.partial(_FORMS[form_on_cpu(x_BDHWC.shape, kernel.shape, stride)][0], stride=stride),
        default=functools.partial(direct_conv, stride=stride),
    )


def _forward(x_BDHWC: Array, kernel: Array, stride: Stride) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x_BDHWC, kernel, stride), (x_BDHWC, kernel)


def _backward(stride: Stride, residuals: tuple[Array, Array], gradient_BDHWC: Array) -> tuple[Array, Array]:
    # Keeps the compiler from holding on to forms of the input (padded, unfolded) since the forward pass.
    operands = lax.optimization_barrier((*residuals, gradient_BDHWC))
    _, gradients = _FORMS[form_on_cpu(residuals[0].shape, residuals[1].shape, stride)]
    return lax.platform_dependent(
        *operands,
        cpu=functools.partial(gradients, stride=stride),
        default=functools.partial(_direct_gradients, stride=stride),
    )


_conv.defvjp(_forward, _backward)


def form_on_cpu(shape_BDHWC: Sequence[int], kernel_shape: Sequence[int], stride: Stride) -> str:
    """The name in `_FORMS` of what is fastest on CPUs for a float32 map and a kernel of these shapes."""
    *size, in_channels, features = kernel_shape
    if stride != (1, 1, 1):
        return "few inputs" if in_channels <= _FEW * features else "strided"
    if in_channels <= _VERY_FEW * features:
        return "few inputs"
    batch, depth, height, width, _ = shape_BDHWC
    tiles = batch * depth * math.ceil(height / winograd.TILE) * math.ceil(width / winograd.TILE)
    small = tiles < _TILES_FOR_WINOGRAD
    if size == [3, 3, 3] and not small:
        return "winograd"
    if features <= _FEW * in_channels:
        return "few outputs"
    return "tap by tap" if small else "direct"


def _direct_gradients(x_BDHWC: Array, kernel: Array, gradient_BDHWC: Array, stride: Stride) -> Gradients:
    by_input = jax.linear_transpose(functools.partial(direct_conv, kernel=kernel, stride=stride), x_BDHWC)
    by_kernel = jax.linear_transpose(functools.partial(direct_conv, x_BDHWC, stride=stride), kernel)
    return *by_input(gradient_BDHWC), *by_kernel(gradient_BDHWC)


def mirrored(kernel: Array) -> Array:
    """The kernel of the transposed convolution (stride 1): each side reversed, (.., C_in, C_out) swapped."""
    return kernel[::-1, ::-1, ::-1].swapaxes(3, 4)


def _winograd_conv(x_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    del stride
    return winograd.conv(x_BDHWC, kernel)


def _winograd_gradients(x_BDHWC: Array, kernel: Array, gradient_BDHWC: Array, stride: Stride) -> Gradients:
    del stride
    by_input = winograd.conv(gradient_BDHWC, mirrored(kernel))
    return by_input, winograd.filter_gradient(x_BDHWC, gradient_BDHWC)


def _unfolded_gradients(x_BDHWC: Array, kernel: Array, gradient_BDHWC: Array, stride: Stride) -> Gradients:
    return (
        unfolded.input_gradient(gradient_BDHWC, kernel, stride, x_BDHWC.shape),
        unfolded.filter_gradient(x_BDHWC, gradient_BDHWC, kernel.shape[:3], stride),
    )


def _folded_conv(x_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    return unfolded.input_gradient(x_BDHWC, mirrored(kernel), stride, x_BDHWC.shape)


def _folded_gradients(x_BDHWC: Array, kernel: Array, gradient_BDHWC: Array, stride: Stride) -> Gradients:
    # The kernel's gradient is that of the mirrored convolution, which maps the outputs to the inputs.
    return (
        unfolded.conv(gradient_BDHWC, mirrored(kernel), stride),
        mirrored(unfolded.filter_gradient(gradient_BDHWC, x_BDHWC, kernel.shape[:3], stride)),
    )


def _tapwise_conv(x_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    del stride
    return tapwise.conv(x_BDHWC, kernel)


def _tapwise_gradients(x_BDHWC: Array, kernel: Array, gradient_BDHWC: Array, stride: Stride) -> Gradients:
    del stride
    by_input = tapwise.input_gradient(gradient_BDHWC, kernel)
    return by_input, tapwise.filter_gradient(x_BDHWC, gradient_BDHWC, kernel.shape[:3])


# By name the convolution and its gradients by input and kernel.
_FORMS: dict[str, tuple[Callable[..., Array], Callable[..., Gradients]]] = {
    "direct": (direct_conv, _direct_gradients),
    "strided": (direct_conv, _unfolded_gradients),
    "few inputs": (unfolded.conv, _unfolded_gradients),
    "few outputs": (_folded_conv, _folded_gradients),
    "winograd": (_winograd_conv, _winograd_gradients),
    "tap by tap": (_tapwise_conv, _tapwise_gradients),
}
