"""Array functions: each fast form equals a plain reference to a stated tolerance.

`from dsdenseunet.ops import depthwise_conv, transposed_depthwise_conv` is all that others need of this
project for fast depthwise 3D convolutions: values and both gradients, any odd kernel, any stride.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsdenseunet.ops.depthwise import depthwise_conv, transposed_depthwise_conv

__all__ = ["depthwise_conv", "transposed_depthwise_conv"]


def __getattr__(name: str) -> Any:
    # On demand: what prepares data and scores uses the other modules here without JAX.
    if name in __all__:
        from dsdenseunet.ops import depthwise

        return getattr(depthwise, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
