"""What NVIDIA's driver says about the card, without starting JAX."""

from __future__ import annotations

import shutil
import subprocess


def ask(field: str) -> str | None:
    """A field of `nvidia-smi --help-query-gpu` of the first card, such as `name`; None without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    asked = [program, f"--query-gpu={field}", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.split("\n")[0].strip() or None if done.returncode == 0 else None
