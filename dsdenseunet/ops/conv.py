"""Full 3D convolutions on channels-last volumes, padded by k // 2 on both sides."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsdenseunet.ops.cpu import tapwise, unfolded, winograd

Stride = tuple[int, int, int]

# Measured on two AVX-512 cores. Tiles from which the Winograd form beats the others: with fewer, each
# transformed weight is used too seldom.
_TILES_FOR_WINOGRAD = 100
# One side of a convolution has few channels, and is worth unfolding, up to this share of the other's.
_FEW = 0.3


def conv3d(x_BDHWC: Array, kernel: Array, stride: Stride = (1, 1, 1)) -> Array:
    """Cross-correlates every input channel with every output channel.

    On CPUs, float32 maps go through `ops.winograd`, `ops.unfolded` or `ops.tapwise` where these are faster;
    everything else is `lax.conv_general_dilated`.

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
    """A 1^3 convolution as one matrix product; `kernel` is (1, 1, 1, C_in, C_out)."""
    return jnp.dot(x_BDHWC, kernel[0, 0, 0])


# The platform is chosen inside the rules of differentiation: a gradient through `platform_dependent` would
# keep what every branch needs.
@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    return lax.platform_dependent(
        x_BDHWC,
        kernel,
        cpu=functools.partial(_on_cpu, stride=stride),
        default=functools.partial(direct_conv, stride=stride),
    )


def _forward(x_BDHWC: Array, kernel: Array, stride: Stride) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x_BDHWC, kernel, stride), (x_BDHWC, kernel)


def _backward(stride: Stride, residuals: tuple[Array, Array], gradient_BDHWC: Array) -> tuple[Array, Array]:
    # Keeps the compiler from holding on to forms of the input (padded, unfolded) since the forward pass.
    operands = lax.optimization_barrier((*residuals, gradient_BDHWC))
    return lax.platform_dependent(
        *operands,
        cpu=functools.partial(_gradients_on_cpu, stride=stride),
        default=functools.partial(_direct_gradients, stride=stride),
    )


_conv.defvjp(_forward, _backward)


def _on_cpu(x_BDHWC: Array, kernel: Array, stride: Stride) -> Array:
    in_channels, features = kernel.shape[3:]
    if stride != (1, 1, 1):
        few_inputs = in_channels <= _FEW * features
        return (unfolded.conv if few_inputs else direct_conv)(x_BDHWC, kernel, stride)
    if _winograd_pays(x_BDHWC, kernel):
        return winograd.conv(x_BDHWC, kernel)
    if features <= _FEW * in_channels:
        return unfolded.input_gradient(x_BDHWC, mirrored(kernel), stride, x_BDHWC.shape)
    return (tapwise.conv if _is_small(x_BDHWC) else direct_conv)(x_BDHWC, kernel)


def _gradients_on_cpu(
    x_BDHWC: Array, kernel: Array, gradient_BDHWC: Array, stride: Stride
) -> tuple[Array, Array]:
    """Gradients by input and kernel."""
    *size, in_channels, features = kernel.shape
    if stride != (1, 1, 1):
        return (
            unfolded.input_gradient(gradient_BDHWC, kernel, stride, x_BDHWC.shape),
            unfolded.filter_gradient(x_BDHWC, gradient_BDHWC, size, stride),
        )
    if _winograd_pays(x_BDHWC, kernel):
        by_input = winograd.conv(gradient_BDHWC, mirrored(kernel))
        return by_input, winograd.filter_gradient(x_BDHWC, gradient_BDHWC)
    if features <= _FEW * in_channels:
        # The kernel's gradient is that of the mirrored convolution, which maps the outputs to the inputs.
        return (
            unfolded.conv(gradient_BDHWC, mirrored(kernel), stride),
            mirrored(unfolded.filter_gradient(gradient_BDHWC, x_BDHWC, size, stride)),
        )
    if _is_small(x_BDHWC):
        by_input = tapwise.input_gradient(gradient_BDHWC, kernel)
        return by_input, tapwise.filter_gradient(x_BDHWC, gradient_BDHWC, size)
    return _direct_gradients(x_BDHWC, kernel, gradient_BDHWC, stride)


def _direct_gradients(
    x_BDHWC: Array, kernel: Array, gradient_BDHWC: Array, stride: Stride
) -> tuple[Array, Array]:
    by_input = jax.linear_transpose(functools.partial(direct_conv, kernel=kernel, stride=stride), x_BDHWC)
    by_kernel = jax.linear_transpose(functools.partial(direct_conv, x_BDHWC, stride=stride), kernel)
    return *by_input(gradient_BDHWC), *by_kernel(gradient_BDHWC)


def mirrored(kernel: Array) -> Array:
    """The kernel of the transposed convolution (stride 1): each side reversed, (.., C_in, C_out) swapped."""
    return kernel[::-1, ::-1, ::-1].swapaxes(3, 4)


def _winograd_pays(x_BDHWC: Array, kernel: Array) -> bool:
    return kernel.shape[:3] == (3, 3, 3) and not _is_small(x_BDHWC)


def _is_small(x_BDHWC: Array) -> bool:
    batch, depth, height, width, _ = x_BDHWC.shape
    tiles = batch * (depth + 2) * math.ceil(height / winograd.TILE) * math.ceil(width / winograd.TILE)
    return tiles < _TILES_FOR_WINOGRAD
