"""Compiled programs are kept on disk, so that a second start does not compile again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache

from dsdenseunet.core import files


def use_compilation_cache() -> None:
    """Turns on XLA's persistent cache, in $JAX_COMPILATION_CACHE_DIR or ~/.cache/dsdenseunet/xla.

    A folder that is configured already stays; `JAX_ENABLE_COMPILATION_CACHE=false` turns the cache off.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(files.cache_folder() / "xla"))


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """Programs are compiled anew, as the compiler says nothing of one that is read from the cache."""
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    # Whether there is a cache is asked once, unless it is forgotten.
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def notice(program: str) -> str:
    """The message before a compilation, during which nothing else is shown."""
    values = jax.config.values
    folder = values["jax_compilation_cache_dir"] if values["jax_enable_compilation_cache"] else None
    kept = f"; later starts take it from {folder}" if folder else ""
    return (
        f"compiling {program}: seconds for a small network, about 20 s for 3D-DenseUNet-569 on a CPU and one "
        f"to two minutes on a GPU{kept}"
    )
