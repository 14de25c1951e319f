"""Huge pages for large blocks of memory, which XLA's CPU programs take anew from the system at every call.

A training step at 224 x 224 x 12 has 580,000 page faults in pages of 4 KiB, 60,000 where large blocks have
pages of 2 MiB; docs/explanation/speed.md has what that is worth. The GNU C library asks for them where the
variable GLIBC_TUNABLES says so, which it reads only at a process' start:
https://www.gnu.org/software/libc/manual/html_node/Memory-Allocation-Tunables.html
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import platform
import sys
from pathlib import Path

_VARIABLE, _SETTING = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_SINCE_GLIBC = (2, 35)
_MODES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# The kernel distrusts this process' environment (set-user-ID, capabilities), so the C library does, too.
_AT_SECURE = 23


def environment() -> dict[str, str]:
    """What to add to the environment of a process that computes on the CPU.

    Returns:
        Nothing where the variable is set already, which is the way to have none of this; where the kernel
        gives huge pages to all or to nobody; and where the C library is not GNU's or is older than 2.35.
    """
    if _VARIABLE in os.environ or not sys.platform.startswith("linux"):
        return {}
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < _SINCE_GLIBC:
        return {}
    try:
        on_request = "[madvise]" in _MODES.read_text(encoding="ascii")
    except OSError:
        on_request = False
    return {_VARIABLE: _SETTING} if on_request else {}


def restart() -> None:
    """Begins this process' program again with `environment()`, as the same process, and does not return.

    Returns where there is nothing to add, where an accelerator computes, where the system refuses, and where
    the program is not one of `experiments` run by `python -m`: a test or a notebook that calls it is not
    begun again.
    """
    program = getattr(sys.modules["__main__"], "__spec__", None)
    if program is None or not program.name.startswith("experiments.") or not _computes_on_cpu():
        return
    added = environment()
    if added and sys.executable and not ctypes.CDLL(None).getauxval(_AT_SECURE):
        sys.stdout.flush()
        sys.stderr.flush()
        # A system that cannot begin it again, such as one whose limit the command line meets, does without.
        with contextlib.suppress(OSError):
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **added})


def _computes_on_cpu() -> bool:
    """As far as can be seen before JAX has looked for devices, which takes seconds on a GPU."""
    chosen = os.environ.get("JAX_PLATFORMS")
    return chosen.startswith("cpu") if chosen else importlib.util.find_spec("jax_plugins") is None
