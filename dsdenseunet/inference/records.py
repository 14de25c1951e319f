"""A record beside each prediction: which of them are current, and which files somebody else wrote."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.nifti_file import read_header
from dsdenseunet.data.scans.walk import RECORDS, same_file
from dsdenseunet.inference.predict import Predictor
from dsdenseunet.inference.scans import Scan
from dsdenseunet.runtime import environment

# The code that turns a scan into a prediction.
CODE = ("dsdenseunet.data", "dsdenseunet.inference", "dsdenseunet.models", "dsdenseunet.ops")


def fingerprint(predictor: Predictor) -> str:
    """SHA-256 over network, weights and options."""
    digest = hashlib.sha256()
    options = {
        field.name: repr(getattr(predictor, field.name))
        for field in dataclasses.fields(predictor)
        if field.name not in ("variables", "device")
    }
    digest.update(json.dumps(options, sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(predictor.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


class Records:
    """The records of the predictions in a folder: one file per scan, so that processes never share one.

    Args:
        output: folder of the predictions.
        suffix: ending of their names.
        predictor: what makes them.
    """

    def __init__(self, output: Path, suffix: str, predictor: Predictor):
        self._output, self._suffix = output, suffix
        self._made_by = {
            "predictor_sha256": fingerprint(predictor),
            "code_sha256": environment.code_fingerprint(*CODE),
        }
        (output / RECORDS).mkdir(parents=True, exist_ok=True)

    def target(self, scan: Scan) -> Path:
        """Where a scan's prediction lies."""
        return self._output / (scan.name + self._suffix)

    def key(self, scan: Scan) -> dict[str, Any]:
        """What makes a prediction current: the scan's files; network, weights and options; the code."""
        stats = [path.stat() for path in scan.images]
        return {
            "scan": [str(path.resolve()) for path in scan.images],
            "scan_bytes": [stat.st_size for stat in stats],
            "scan_mtime_ns": [stat.st_mtime_ns for stat in stats],
            **self._made_by,
        }

    def is_current(self, scan: Scan) -> bool:
        """Whether a scan's prediction is current; also False if that cannot be determined."""
        try:
            known, size = self.read(scan), self.target(scan).stat().st_size
            return known == {**known, **self.key(scan), "prediction_bytes": size}
        except (OSError, InputError):
            return False

    def check_replaceable(self, scan: Scan) -> None:
        """Checks that a prediction may be written: there is none yet, or it is as it was written.

        A prediction that was written here and can no longer be read is damaged, and may be replaced too.

        Raises:
            InputError: the file is another program's, or another program has changed it.
        """
        target = self.target(scan)
        if not target.exists():
            return
        if not self._path(scan).exists() or any(same_file(target, path) for path in scan.images):
            found = "a file that predict did not write"
        elif self._is_changed(scan) and _is_whole(target):
            found = "a prediction that another program has changed"
        else:
            return
        raise InputError(
            target,
            found=found,
            expected="a free name, or a prediction as it was written",
            fix="move the file elsewhere to have this scan segmented again, or choose another output folder",
        )

    def discard(self, scan: Scan) -> None:
        """Removes an outdated prediction, which must not be taken for a current one."""
        if self._path(scan).exists():
            self.target(scan).unlink(missing_ok=True)

    def begin(self, scan: Scan, key: dict[str, Any]) -> None:
        """To be called before a prediction is written: without a record it would count as somebody else's."""
        files.write_json(self._path(scan), key)

    def finish(self, scan: Scan, key: dict[str, Any], **facts: Any) -> None:
        """To be called when a prediction is written; `facts` are kept with it."""
        target = self.target(scan)
        written = {"prediction_bytes": target.stat().st_size, "prediction_sha256": files.sha256(target)}
        files.write_json(self._path(scan), {**key, **written, **facts})

    def read(self, scan: Scan) -> dict[str, Any]:
        """A scan's record; empty where it is damaged, as it is written anew with the prediction.

        Raises:
            InputError: there is none, or it cannot be read.
        """
        known = files.read_json(self._path(scan))
        return known if isinstance(known, dict) else {}

    def _path(self, scan: Scan) -> Path:
        return self._output / RECORDS / f"{scan.name}.json"

    def _is_changed(self, scan: Scan) -> bool:
        """Whether a prediction differs from what its record says; False where the record says nothing."""
        try:
            known = self.read(scan)
        except InputError:
            return False
        target = self.target(scan)
        if known.get("prediction_sha256"):
            return files.sha256(target) != known["prediction_sha256"]
        size = target.stat().st_size
        return known.get("prediction_bytes", size) != size


def _is_whole(path: Path) -> bool:
    """Whether a file can be read as a volume to its end."""
    try:
        for _ in read_header(path).blocks():
            pass
    except InputError:
        return False
    return True
