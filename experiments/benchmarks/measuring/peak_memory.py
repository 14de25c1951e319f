"""The most memory that this process has held."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import psutil


def reset_peak() -> None:
    """Linux: what set-up has freed goes back to the system, and the high-water mark falls to what is left.

    Elsewhere the mark keeps what set-up took.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError, TypeError):  # The last is Windows', where a library has a name.
        return


def peak_bytes() -> int:
    """Most bytes that were resident at once, libraries included."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return _without_proc()


def _without_proc() -> int:
    try:
        import resource
    except ImportError:
        return int(psutil.Process().memory_info().peak_wset)
    # Bytes on macOS, kibibytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
