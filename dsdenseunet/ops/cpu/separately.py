"""Parts of a program that XLA compiles for themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.experimental.xla_metadata import set_xla_metadata

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled_separately(function: _Function) -> _Function:
    """A function of arrays whose operations XLA does not fuse with its caller's.

    A loop over a map that adds up too many shifted copies of it is not vectorised by LLVM. Cut into several,
    XLA would fuse them into one again; it does not look into a call that it is told not to inline.
    """
    called = jax.jit(function)

    @functools.wraps(function)
    def marked(*arguments: Any) -> Any:
        with set_xla_metadata(inlineable="false"):
            return called(*arguments)

    return marked  # type: ignore[return-value]
