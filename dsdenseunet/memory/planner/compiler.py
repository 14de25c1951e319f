"""Compiles programs for a card in separate processes, and remembers the results."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.core import files
from dsdenseunet.memory.cards import Card
from dsdenseunet.models.network import traded
from dsdenseunet.runtime import environment
from dsdenseunet.training.settings import config_to_json

# All that a compiled program depends on, relative to the package.
_SOURCES = (
    *("models/*.py", "ops/**/*.py", "losses/*.py", "memory/alive/*.py"),
    *("memory/planner/program.py", "memory/planner/hlo.py"),
    *(f"training/{name}.py" for name in ("step", "state", "recipe", "optimizer")),
    *("inference/predict.py", "inference/sliding_window.py", "runtime/parallel.py"),
)


class CompilationError(RuntimeError):
    """A program did not compile or run; the message is one line."""


def has_gpu_compiler() -> bool:
    """Whether JAX's CUDA plugin, which holds XLA's compiler for GPUs, is installed."""
    return any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))


@dataclasses.dataclass
class Compiler:
    """Compiles for one card.

    Attributes:
        card: what to compile for; None: this machine's processor, whose figures are an estimate.
        say: told of each compilation, a line each.
        timeout_s: a compilation that takes longer has failed.
        folder: where figures are kept.
        module: run as `python -m module REQUEST ANSWER`.
        compiled: how many programs this object has compiled, not found.
    """

    card: Card | None
    say: Callable[[str], None]
    timeout_s: float = 900.0
    folder: Path = dataclasses.field(default_factory=lambda: files.cache_folder() / "compiled")
    module: str = "dsdenseunet.memory.planner.program"
    compiled: int = 0

    def figures(self, program: str, config: ConfigDict, **more: Any) -> dict[str, Any]:
        """The answer of `program.measure`.

        Raises:
            CompilationError: the compiler refused, crashed or took too long.
        """
        request = {
            "program": program,
            "config": config_to_json(config),
            "target": None if self.card is None else self.card.target(),
            "programs": str(self.folder / "programs"),
            **more,
        }
        known = self.folder / f"{_key(request, self.module)}.json"
        if known.exists():
            return files.read_object(known)
        self.compiled += 1
        what = describe(program, config)
        start = time.monotonic()
        self.say(f"compiling {what} ...")
        answer = in_child(self.module, request, gpu_compiler_environment(), self.timeout_s, what)
        files.write_json(known, answer)
        self.say(f"compiled  {what} in {time.monotonic() - start:.0f} s")
        return answer


def in_child(
    module: str, request: Mapping[str, Any], environment: Mapping[str, str], timeout_s: float, what: str
) -> dict[str, Any]:
    """Runs `python -m module REQUEST.json ANSWER.json`; returns the answer.

    Raises:
        CompilationError: it failed, crashed or took too long; the message is one line.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "request.json", Path(folder) / "answer.json"
        files.write_json(asked, request)
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, asked, answered],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CompilationError(f"{what}: not done after {timeout_s:.0f} s") from None
        if done.returncode == 0:
            return files.read_json(answered)
        reason = _reason(done.stderr)
        ended = f"killed by signal {-done.returncode}" if done.returncode < 0 else "failed"
        raise CompilationError(f"{what}: the process {ended}: {reason}")


def _reason(stderr: str) -> str:
    """The line that names the exception; what follows it may be its own trace."""
    lines = stderr.strip().splitlines()
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Exit|Interrupt)\b", line)]
    return (named or lines or ["no message"])[-1][:200]


def describe(program: str, config: ConfigDict) -> str:
    """A program in words."""
    patch, (remat, dtype) = " x ".join(map(str, config.data.patch_size)), traded(config.model)
    if program == "train":
        parts = f", {config.training.accumulate} micro-batches" if config.training.accumulate > 1 else ""
        batch, mode = config.data.batch_size, f"remat {remat}{parts}"
    else:
        batch, mode = config.inference.batch_size, "no gradient"
    kinds = {True: "separable, ", False: "standard, ", None: ""}
    return f"{program}, {kinds[config.model.get('separable')]}{batch} x ({patch}), {dtype}, {mode}"


def gpu_compiler_environment() -> dict[str, str]:
    """Variables with which a process compiles for a GPU that is not there."""
    # No search for the fastest convolution, which would need the card.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_autotune_level=0".strip()
    return {
        "JAX_PLATFORMS": "cpu",
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": flags,
    }


def _key(request: Mapping[str, Any], module: str) -> str:
    config = request["config"]
    asked = {
        "module": module,
        "model": config["model"],
        "loss": config["loss"],
        "optimizer": config["optimizer"],
        "frozen": config["phases"][config["phases"]["order"][0]]["frozen"],
        "patch": config["data"]["patch_size"],
        "batch": [config["data"]["batch_size"], config["inference"]["batch_size"]],
        "accumulate": config["training"]["accumulate"],
        "overlap": config["inference"]["overlap"],
        **{name: value for name, value in request.items() if name not in ("config", "programs")},
        "versions": [environment.installed_version(name) for name in ("jax", "jaxlib", "flax")],
        "sources": _sources(),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@functools.cache
def _sources() -> str:
    package = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in package.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
