"""Writes arrays to one file in the safetensors format; `core.safetensors` reads them, and says what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Where the arrays begin is a multiple of it, so that a reader may map them.
_ALIGNMENT = 8


def write(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[np.float32]], about: Mapping[str, str]
) -> None:
    """Writes float32 arrays, and text about them for the header's `__metadata__`.

    The same content gives the same bytes.

    Raises:
        TypeError: an array of another type.
    """
    header: dict[str, object] = {"__metadata__": dict(about)}
    end = 0
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise TypeError(f"{name} is {array.dtype}, not float32")
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with Path(path).open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            stream.write(np.ascontiguousarray(array, "<f4").tobytes())
