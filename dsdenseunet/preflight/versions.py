"""Driver, CUDA, cuDNN and card against each other: what is installed, and what is known of it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import subprocess
from collections.abc import Callable
from typing import Any

import jax

from dsdenseunet.runtime import environment

FAULT, WARNING = "fault", "warning"
_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


@dataclasses.dataclass(frozen=True)
class Installation:
    """What computes: the card and the libraries that this process has loaded for it.

    Attributes:
        card: as the driver calls it.
        capability: compute capability.
        driver: version of the driver, such as "570.86.15"; "" where nvidia-smi does not say.
        driver_cuda: newest CUDA that the driver knows, as CUDA counts (12080 is 12.8).
        cuda: CUDA runtime, counted in the same way.
        cudnn: as cuDNN counts (91002 is 9.10.2).
        jax: version of jaxlib.
        plugins: JAX's CUDA plugins that are installed.
        memory_bytes: of the card, all of it; None where nvidia-smi does not say.
    """

    card: str
    capability: tuple[int, int]
    driver: str
    driver_cuda: int
    cuda: int
    cudnn: int
    jax: str
    plugins: tuple[str, ...]
    memory_bytes: int | None


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is known to be wrong with an installation.

    Attributes:
        severity: `fault` (it cannot work) or `warning` (results or memory may be affected).
        found: in the installation.
        fix: what to do.
        source: where it is told.
    """

    severity: str
    found: str
    fix: str
    source: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.found}\n  to do:  {self.fix}\n  source: {self.source}"


def on_cuda() -> bool:
    """Whether this process computes on NVIDIA GPUs."""
    return jax.default_backend() == "gpu" and bool(_plugins())


def installation() -> Installation:
    """Asks the first CUDA device of this process and the libraries loaded for it."""
    device = jax.local_devices(backend="cuda")[0]
    plugins = _plugins()
    versions: Any = importlib.import_module(f"{plugins[0]}._versions")
    major, _, minor = str(device.compute_capability).partition(".")
    driver, memory = _nvidia_smi(device.local_hardware_id)
    return Installation(
        card=device.device_kind,
        capability=(int(major), int(minor)),
        driver=driver,
        driver_cuda=versions.cuda_driver_get_version(),
        cuda=versions.cuda_runtime_get_version(),
        cudnn=versions.cudnn_get_version(),
        jax=environment.installed_version("jaxlib") or "unknown",
        plugins=plugins,
        memory_bytes=memory,
    )


def findings(installed: Installation, dtype: str) -> list[Finding]:
    """What is known of an installation for a run whose activations are `dtype`, faults first."""
    found = [rule(installed, dtype) for rule in _RULES]
    return sorted((finding for finding in found if finding), key=lambda finding: finding.severity != FAULT)


def table(installed: Installation) -> str:
    """The installation as lines of text."""
    rows = {
        "card": f"{installed.card}, compute capability {'.'.join(map(str, installed.capability))}",
        "driver": f"{installed.driver or 'unknown'}, for CUDA up to {_cuda(installed.driver_cuda)}",
        "CUDA": _cuda(installed.cuda),
        "cuDNN": cudnn_text(installed.cudnn),
        "jaxlib": f"{installed.jax} with {', '.join(installed.plugins)}",
    }
    return "\n".join(f"{name:<8}{value}" for name, value in rows.items())


def cudnn_text(version: int) -> str:
    """91002 as "9.10.2"."""
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"


def _plugins() -> tuple[str, ...]:
    return tuple(name for name in _PLUGINS if importlib.util.find_spec(name))


def _cuda(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


Rule = Callable[[Installation, str], Finding | None]


def _old_card(installed: Installation, dtype: str) -> Finding | None:
    if installed.capability >= (7, 5) or (installed.cudnn < 91100 and installed.cuda < 13000):
        return None
    return Finding(
        FAULT,
        f"{installed.card} has compute capability {'.'.join(map(str, installed.capability))}; neither cuDNN "
        f"from 9.11 on nor CUDA 13 serves less than 7.5 (installed: cuDNN {cudnn_text(installed.cudnn)}, "
        f"CUDA {_cuda(installed.cuda)})",
        "in a fresh environment: "
        "python -m pip install --constraint constraints.txt --editable '.[cuda12-pascal]'",
        "support matrices of cuDNN 9.10 and 9.11, https://docs.nvidia.com/deeplearning/cudnn",
    )


def _old_driver(installed: Installation, dtype: str) -> Finding | None:
    if installed.driver_cuda // 1000 >= installed.cuda // 1000:
        return None
    return Finding(
        FAULT,
        f"the driver {installed.driver} knows CUDA up to {_cuda(installed.driver_cuda)}, installed is "
        f"{_cuda(installed.cuda)}",
        f"update the driver, or install the extra for CUDA {installed.driver_cuda // 1000}",
        "https://docs.nvidia.com/deploy/cuda-compatibility",
    )


def _two_plugins(installed: Installation, dtype: str) -> Finding | None:
    if len(installed.plugins) < 2:
        return None
    return Finding(
        FAULT,
        f"two CUDA plugins of JAX: {' and '.join(installed.plugins)}",
        "make a fresh environment with one extra, cuda12 or cuda13",
        "https://docs.jax.dev/en/latest/installation.html",
    )


def _wrong_bfloat16(installed: Installation, dtype: str) -> Finding | None:
    # Cards before Ampere convolve bfloat16 maps in float32.
    if dtype != "bfloat16" or not 90800 <= installed.cudnn < 91300 or installed.capability < (8, 0):
        return None
    return Finding(
        WARNING,
        f"cuDNN {cudnn_text(installed.cudnn)}: wrong values of bfloat16 3D convolutions are reported of "
        "9.8 to 9.10 and gone in 9.13",
        _newer_cudnn(installed),
        "https://github.com/pytorch/pytorch/issues/163539",
    )


def _wrong_tf32(installed: Installation, dtype: str) -> Finding | None:
    if dtype != "float32" or not 91002 <= installed.cudnn < 91600 or installed.capability < (8, 0):
        return None
    return Finding(
        WARNING,
        f"cuDNN {cudnn_text(installed.cudnn)}: a broken kernel for 3D convolutions in TensorFloat-32 is "
        "reported of 9.10.2 to 9.15",
        _newer_cudnn(installed),
        "https://github.com/pytorch/pytorch/pull/167024",
    )


def _wasteful_bfloat16(installed: Installation, dtype: str) -> Finding | None:
    if dtype != "bfloat16" or installed.cudnn >= 91500 or installed.capability < (8, 0):
        return None
    return Finding(
        WARNING,
        f"cuDNN {cudnn_text(installed.cudnn)}: bfloat16 3D convolutions are reported to take three times the "
        "memory of float32 ones until 9.15",
        _newer_cudnn(installed),
        "https://github.com/pytorch/pytorch/issues/166643",
    )


_RULES: tuple[Rule, ...] = (
    _old_card,
    _old_driver,
    _two_plugins,
    _wrong_bfloat16,
    _wrong_tf32,
    _wasteful_bfloat16,
)


def _newer_cudnn(installed: Installation) -> str:
    major = installed.cuda // 1000
    return f"python -m pip install --upgrade 'nvidia-cudnn-cu{major}>=9.16'"


def _nvidia_smi(index: int) -> tuple[str, int | None]:
    """The driver's version and a card's memory in bytes, where the driver's own program is there."""
    query = [
        "nvidia-smi",
        f"--id={index}",
        "--query-gpu=driver_version,memory.total",
        "--format=csv,noheader,nounits",
    ]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout
        driver, mebibytes = answer.strip().splitlines()[0].split(", ")
        return driver, int(mebibytes) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return "", None
