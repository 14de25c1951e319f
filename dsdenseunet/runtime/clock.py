"""The time since this process began."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil

# Of the fields of /proc/self/stat behind the program's name, which may hold anything.
_START_TIME = 19


def seconds_since_start() -> float:
    """Seconds of wall time, to a hundredth where the system is Linux."""
    try:
        fields = (
            Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        began = int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, ValueError, AttributeError):
        return time.time() - psutil.Process().create_time()
