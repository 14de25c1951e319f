"""A record beside each prediction: which of them are current, and which files somebody else wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.opening import open_volume
from dsdenseunet.data.scans.walk import PROBABILITIES, RECORDS, same_file
from dsdenseunet.inference.predict import Segmenter
from dsdenseunet.inference.scans import DICOM_SUFFIX, SUFFIXES, Scan
from dsdenseunet.runtime import environment

# The code that turns a scan into a prediction.
CODE = ("dsdenseunet.data", "dsdenseunet.inference", "dsdenseunet.models", "dsdenseunet.ops")


class Records:
    """The records of the predictions in a folder: one file per scan, so that processes never share one.

    Args:
        output: folder of the predictions.
        suffix: ending of their names.
        predictor: what makes them; of several runs, all are on record.
        with_probabilities: whether class probabilities belong to a prediction.
    """

    def __init__(self, output: Path, suffix: str, predictor: Segmenter, with_probabilities: bool = False):
        self._output, self._suffix, self._with_probabilities = output, suffix, with_probabilities
        # Where the runs lay is told, but plays no part in what is current.
        self._told = {"runs": list(predictor.members()), "with_probabilities": with_probabilities}
        self._made_by = {
            "predictors_sha256": predictor.fingerprints(),
            "code_sha256": environment.code_fingerprint(*CODE),
            **({"temperature": predictor.temperature} if with_probabilities else {}),
        }
        (output / RECORDS).mkdir(parents=True, exist_ok=True)

    def target(self, scan: Scan) -> Path:
        """Where a scan's prediction lies."""
        return self._output / (scan.name + self._suffix)

    def probabilities(self, scan: Scan) -> Path:
        """Where the class probabilities of a scan lie."""
        suffix = SUFFIXES[0] if self._suffix == DICOM_SUFFIX else self._suffix
        return self._output / (scan.name + PROBABILITIES + suffix)

    def key(self, scan: Scan) -> dict[str, Any]:
        """What makes a prediction current: the scan's files; network, weights and options; the code."""
        sizes, times = zip(*(files.size_and_time(path) for path in scan.images), strict=True)
        return {
            "scan": [str(path.resolve()) for path in scan.images],
            "scan_bytes": list(sizes),
            "scan_mtime_ns": list(times),
            **self._made_by,
        }

    def is_current(self, scan: Scan) -> bool:
        """Whether a scan's prediction is current; also False if that cannot be determined."""
        try:
            known = self.read(scan)
            sizes = {f"{what}_bytes": path.stat().st_size for what, path in self._files(scan).items()}
            return known == {**known, **self.key(scan), **sizes}
        except (OSError, InputError):
            return False

    def check_replaceable(self, scan: Scan) -> None:
        """Checks that a prediction may be written: its files are not there yet, or are as they were written.

        A prediction that was written here and can no longer be read is damaged, and may be replaced too.

        Raises:
            InputError: the file is another program's, or another program has changed it.
        """
        for what, target in self._files(scan).items():
            if not target.exists():
                continue
            if not self._wrote(scan, what) or any(same_file(target, path) for path in scan.images):
                found = "a file that predict did not write"
            elif self._is_changed(scan, what, target) and _is_whole(target):
                found = "a prediction that another program has changed"
            else:
                continue
            raise InputError(
                target,
                found=found,
                expected="a free name, or a prediction as it was written",
                fix="move the file elsewhere to have this scan segmented again, or choose another "
                "output folder",
            )

    def discard(self, scan: Scan) -> None:
        """Removes an outdated prediction, which must not be taken for a current one."""
        for what, path in (("prediction", self.target(scan)), ("probabilities", self.probabilities(scan))):
            if self._wrote(scan, what):
                path.unlink(missing_ok=True)

    def begin(self, scan: Scan, key: dict[str, Any]) -> None:
        """To be called before a prediction is written: without a record it would count as somebody else's.

        Probabilities of an earlier prediction that get no successor are removed.
        """
        if not self._with_probabilities and self._wrote(scan, "probabilities"):
            self.probabilities(scan).unlink(missing_ok=True)
        files.write_json(self._path(scan), {**key, **self._told})

    def finish(self, scan: Scan, key: dict[str, Any], **facts: Any) -> None:
        """To be called when a prediction is written; `facts` are kept with it."""
        written: dict[str, Any] = {}
        for what, path in self._files(scan).items():
            written[f"{what}_bytes"], written[f"{what}_sha256"] = path.stat().st_size, files.sha256(path)
        files.write_json(self._path(scan), {**key, **self._told, **written, **facts})

    def read(self, scan: Scan) -> dict[str, Any]:
        """A scan's record; empty where it is damaged, as it is written anew with the prediction.

        Raises:
            InputError: there is none, or it cannot be read.
        """
        known = files.read_json(self._path(scan))
        return known if isinstance(known, dict) else {}

    def _path(self, scan: Scan) -> Path:
        return self._output / RECORDS / f"{scan.name}.json"

    def _files(self, scan: Scan) -> dict[str, Path]:
        """The files of a prediction, by what the record calls them."""
        probabilities = {"probabilities": self.probabilities(scan)} if self._with_probabilities else {}
        return {"prediction": self.target(scan), **probabilities}

    def _known(self, scan: Scan) -> dict[str, Any]:
        """A scan's record; empty where it cannot be read."""
        try:
            return self.read(scan)
        except InputError:
            return {}

    def _wrote(self, scan: Scan, what: str) -> bool:
        """Whether a file of a prediction, if it is there, was written here; also if its record is damaged."""
        known = self._known(scan)
        return self._path(scan).exists() and (
            what == "prediction" or not known or bool(known.get("with_probabilities"))
        )

    def _is_changed(self, scan: Scan, what: str, path: Path) -> bool:
        """Whether a file differs from what its record says; False where the record says nothing."""
        known = self._known(scan)
        if known.get(f"{what}_sha256"):
            return files.sha256(path) != known[f"{what}_sha256"]
        size = path.stat().st_size
        return known.get(f"{what}_bytes", size) != size


def _is_whole(path: Path) -> bool:
    """Whether a file can be read as a volume to its end."""
    try:
        for _ in open_volume(path, channels=None).channel_blocks():
            pass
    except InputError:
        return False
    return True
