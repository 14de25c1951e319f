"""Versions, memory and convolutions of a run on this GPU, checked before it starts; the verdict is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.models.network import traded
from dsdenseunet.preflight import convolutions, memory, versions
from dsdenseunet.preflight.convolutions import TOLERANCE, Checked
from dsdenseunet.preflight.versions import FAULT, Finding, Installation
from dsdenseunet.runtime import parallel

# Changing what is checked invalidates stored verdicts.
_VERDICT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        installed: card and libraries.
        findings: what is known of them for the run's type.
        memory: a sentence on the allocator's limit.
        checked: the run's convolutions.
        seconds: that the check took, when it was made.
        kept: whether it was made by an earlier start.
    """

    installed: Installation
    findings: tuple[Finding, ...]
    memory: str
    checked: tuple[Checked, ...]
    seconds: float
    kept: bool

    @property
    def wrong(self) -> list[Checked]:
        """Convolutions whose values are wrong."""
        return [checked for checked in self.checked if not checked.correct]

    @property
    def passed(self) -> bool:
        """Whether the run can start."""
        return not self.wrong and not any(finding.severity == FAULT for finding in self.findings)

    def text(self) -> str:
        """For the terminal."""
        how = "by an earlier start" if self.kept else f"in {self.seconds:.0f} s"
        worst = max((checked.error / TOLERANCE[checked.dtype] for checked in self.checked), default=0)
        lines = [versions.table(self.installed), self.memory, *map(str, self.findings)]
        if not self.wrong:
            lines.append(
                f"convolutions: {len(self.checked)} checked {how}, all correct (largest error "
                f"{worst:.0%} of what is allowed for rounding)"
            )
        lines += [f"WRONG: {checked.convolution}: error {checked.error:.3g}" for checked in self.wrong]
        return "\n".join(lines)


def run(config: ConfigDict, *, training: bool) -> Verdict:
    """Checks the installation and, unless an earlier start did, every convolution of the run.

    Args:
        config: of the run, already checked.
        training: the training step and validation; False: prediction alone.
    """
    installed = versions.installation()
    _, dtype = traded(config.model)
    findings = tuple(versions.findings(installed, dtype))
    limit = memory.sentence(parallel.first_device_memory()[1], installed.memory_bytes)
    known = functools.partial(Verdict, installed, findings, limit)
    if any(finding.severity == FAULT for finding in findings):
        return known((), 0.0, False)
    start = time.perf_counter()
    listed = convolutions.of_training(config) if training else convolutions.of_prediction(config)
    depthwise = convolutions.depthwise_of(config)
    key = json.dumps(
        [_VERDICT_VERSION, dataclasses.asdict(installed), [repr(each) for each in (*listed, *depthwise)]]
    )
    path = files.cache_folder() / "preflight" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(InputError, KeyError, TypeError):
        kept = files.read_json(path)
        return known(tuple(Checked(**row) for row in kept["checked"]), kept["seconds"], True)
    checked = tuple(convolutions.check(listed, depthwise))
    verdict = known(checked, round(time.perf_counter() - start, 1), False)
    if not verdict.wrong:
        _keep(path, verdict)
    return verdict


def require(config: ConfigDict, *, training: bool, otherwise: str, say: Callable[[str], Any] = print) -> None:
    """On an NVIDIA GPU refuses to start a run whose values would be wrong; does nothing elsewhere.

    Args:
        config: of the run, already checked.
        training: as `run`.
        otherwise: what the user can do in this command to compute otherwise.
        say: called with what is worth knowing.

    Raises:
        InputError: the card and its libraries do not belong together, or a convolution gives wrong values.
    """
    if not versions.on_cuda():
        return
    verdict = run(config, training=training)
    if not verdict.kept or verdict.findings:
        say(verdict.text())
    if verdict.passed:
        return
    installed, wrong = verdict.installed, verdict.wrong
    raise InputError(
        f"preflight on {installed.card}",
        found="; ".join(finding.found for finding in verdict.findings if finding.severity == FAULT)
        or f"wrong values of {len(wrong)} of {len(verdict.checked)} convolutions with cuDNN "
        f"{versions.cudnn_text(installed.cudnn)}, the first: {wrong[0].convolution}",
        expected="a card and libraries that compute this network correctly",
        fix="; ".join(finding.fix for finding in verdict.findings)
        or "install another cuDNN (python -m pip index versions "
        f"nvidia-cudnn-cu{installed.cuda // 1000}), or {otherwise}; --preflight=False starts all the same",
    )


def _keep(path: Path, verdict: Verdict) -> None:
    """If the verdict cannot be stored, the check is made again next time."""
    with contextlib.suppress(OSError):
        files.write_json(
            path,
            {
                "installed": dataclasses.asdict(verdict.installed),
                "checked": [dataclasses.asdict(checked) for checked in verdict.checked],
                "seconds": verdict.seconds,
            },
        )
