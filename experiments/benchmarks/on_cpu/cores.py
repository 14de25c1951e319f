"""Comparisons on a given number of cores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil

from dsdenseunet.core.errors import InputError


def available() -> list[int]:
    """The cores that this process may use.

    Raises:
        InputError: the system does not say.
    """
    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        fix = "run it on Linux or Windows"
        raise InputError("--cores", found="no choice of cores here", expected="one", fix=fix)
    return sorted(process.cpu_affinity())


@contextlib.contextmanager
def only(count: int) -> Iterator[None]:
    """Processes that are begun meanwhile have the first `count` of this process's cores."""
    process, cores = psutil.Process(), available()
    process.cpu_affinity(cores[:count])
    try:
        yield
    finally:
        process.cpu_affinity(cores)
