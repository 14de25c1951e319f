"""Whether what is read from a checkpoint is what was written: half copied, cut off or changed files.

Plain values carry their own SHA-256, and arrays are compared with the SHA-256 that was taken when they were
saved. Checkpoints of versions that took none are read as far as they can be.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorstore

from dsdenseunet.core.errors import InputError
from dsdenseunet.runtime import out_of_memory

SEAL = "sha256"


@contextlib.contextmanager
def whole_or_refused(path: Path, fix: str) -> Iterator[None]:
    """Turns whatever goes wrong while `path` is read into one message.

    Orbax and its file formats raise all sorts of errors over damaged files, so that no list of them is safe.

    Args:
        path: the file or folder that is read.
        fix: what the user can do where it is damaged.

    Raises:
        InputError: it cannot be read.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if out_of_memory.is_cause(error):
            raise
        said = str(error).strip().splitlines() or [""]
        raise InputError(
            path,
            found=f"missing, cut off or damaged ({type(error).__name__}: {said[0][:300]})",
            expected="every file of the checkpoint, as it was written",
            fix=fix,
        ) from error


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values with their seal, for `unsealed` to check."""
    return {**values, SEAL: _plain_digest(values)}


def contents(values: Any) -> Any:
    """What was read without its seal, whatever was read."""
    if not isinstance(values, Mapping):
        return values
    return {name: value for name, value in values.items() if name != SEAL}


def unsealed(values: Any) -> dict[str, Any]:
    """The plain values that `sealed` was given; those of older versions have no seal to check.

    Raises:
        ValueError: they are no longer what they were.
    """
    rest = contents(values)
    if not isinstance(rest, dict):
        raise ValueError(f"{type(values).__name__} in place of named values")
    if SEAL in values and values[SEAL] != _plain_digest(rest):
        raise ValueError("its values are not those that were written")
    return rest


def array_digest(tree: Any) -> str:
    """SHA-256 over names, types, shapes and values of a tree's arrays, which every process has whole."""
    digest = hashlib.sha256()
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    for name in sorted(leaves):
        leaf = leaves[name]
        array = np.asarray(leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf)
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def check_digest(tree: Any, expected: str | None) -> None:
    """Compares arrays with the digest that was taken when they were saved, if one was.

    Raises:
        ValueError: they differ.
    """
    if expected is not None and array_digest(tree) != expected:
        raise ValueError("its values are not those that were written")


def read_every_array(folder: Path) -> None:
    """Reads a folder of arrays once and throws them away.

    Orbax stops waiting at the first array that cannot be read, and the threads that go on with the others
    then print a traceback each. Here all are waited for.

    Raises:
        Exception: what the first array that cannot be read says.
    """
    store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}}
    keys = tensorstore.KvStore.open(store).result().list().result()
    names = [key.decode().removesuffix("/.zarray") for key in keys if key.endswith(b"/.zarray")]
    opening = [
        tensorstore.open({"driver": "zarr", "kvstore": {**store, "path": f"{name}/"}}, open=True)
        for name in names
    ]
    arrays = _all_results(opening)
    _all_results([array.read() for array in arrays])


def _all_results(futures: list[Any]) -> list[Any]:
    errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None:
            raise error
    return [future.result() for future in futures]


def _plain_digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
