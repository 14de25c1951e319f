"""Muon: steps along the momentum made nearly orthogonal, for the hidden matrices of a network.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; the size of a step after Liu et al. 2025
(arXiv:2502.16982), so that it is about as large as one of Adam; three iterations with the coefficients of
"Polar Express" (Amsel et al. 2025, arXiv:2505.16932) in the place of five equal ones.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

# Of the odd polynomial a x + b x^3 + c x^5 of each iteration.
COEFFICIENTS = (
    (8.2872, -23.5959, 17.3004),
    (4.1071, -2.9478, 0.5448),
    (3.9487, -2.9089, 0.5518),
)
# Rounding must not lift the largest singular value above 1, where the polynomials run away.
_MARGIN, _TINY = 1.01, 1e-7
# Root mean square of a step of Adam, as measured by Liu et al.
_RMS = 0.2


class MuonState(NamedTuple):
    """The exponential average of the gradients."""

    momentum: Any


def scale_by_muon(decay: float, scale: float) -> optax.GradientTransformation:
    """Turns gradients into orthogonal steps; all parameters are kernels of at least two axes.

    Args:
        decay: of the average: new = decay * old + (1 - decay) * gradient.
        scale: what a step is multiplied by.
    """

    def init(params: Any) -> MuonState:
        return MuonState(jax.tree.map(jnp.zeros_like, params))

    def update(gradient: Any, state: MuonState, params: Any = None) -> tuple[Any, MuonState]:
        del params
        momentum = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, state.momentum, gradient)
        return jax.tree.map(lambda m: scale * _step(m), momentum), MuonState(momentum)

    return optax.GradientTransformation(init, update)


def orthogonal(matrix: jax.Array) -> jax.Array:
    """A matrix with the same singular vectors whose singular values are near to 1.

    Iterations of an odd polynomial (Newton and Schulz) act on each singular value without an SVD. Three of
    them take what is more than a hundredth of the matrix' norm to between 0.18 and 1.88.
    """
    rows, columns = matrix.shape
    x = matrix if rows <= columns else matrix.T
    x = x / (_MARGIN * jnp.linalg.norm(x) + _TINY)
    for a, b, c in COEFFICIENTS:
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if rows <= columns else x.T


def _step(kernel: jax.Array) -> jax.Array:
    """The step of a kernel (..., in, out): (in, out), or (D, H, W, in, out) of a convolution, as one matrix.

    One more axis in front is a stack of layers, each a matrix by itself.
    """
    stack = kernel.shape[:1] if kernel.ndim in (3, 6) else ()
    columns = kernel.shape[-1]
    rows = kernel.size // (columns * math.prod(stack))
    one = orthogonal if not stack else jax.vmap(orthogonal)
    steps = one(kernel.reshape(*stack, rows, columns)).reshape(kernel.shape)
    return _RMS * math.sqrt(max(rows, columns)) * steps
