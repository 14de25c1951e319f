"""Reads arrays from a file in the safetensors format, which holds no code and is read by many frameworks.

The length of a JSON header (8 bytes, little-endian), the header with each array's type, shape and place, then
the arrays' bytes: https://github.com/huggingface/safetensors#format. `export.safetensors_writer` writes it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_weights(path: str | os.PathLike[str]) -> dict[str, NDArray[np.float32]]:
    """The float32 arrays of a safetensors file, by name."""
    content = Path(path).read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    return {
        name: np.frombuffer(
            content[begin + entry["data_offsets"][0] : begin + entry["data_offsets"][1]], "<f4"
        ).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def read_about(path: str | os.PathLike[str]) -> dict[str, str]:
    """The text that the header has about the arrays, by name; no array is read."""
    with Path(path).open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        # A file of another kind says any length.
        if size > Path(path).stat().st_size:
            raise ValueError(f"a header of {size} bytes")
        return dict(json.loads(stream.read(size))["__metadata__"])
