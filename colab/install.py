"""Installs what a notebook's runtime lacks, and replaces nothing that it has and that is new enough.

    from colab import install
    install.main()

A runtime such as Colab's has its own JAX, NumPy and SciPy, which other packages there were built for and
which this process may have loaded. So pip is told to leave every version as it is. A package that is older
than setup.py asks for is the only exception; with JAX come its own libraries, for the same accelerator: two
CUDA plugins side by side would both fail.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

SETUP = Path(__file__).resolve().parents[1] / "setup.py"
# Packages whose versions belong together with JAX's, and those that compiled code is built against.
_WITH_JAX = re.compile(r"jax|jaxlib|jax-cuda\d+-(plugin|pjrt)|libtpu|nvidia-.*")
_BUILT_AGAINST = re.compile(rf"{_WITH_JAX.pattern}|ml-dtypes|numpy|scipy|torch")
# Where a GPU has no plugin yet; JAX for CUDA 12 runs on the drivers for 13 too.
_CUDA = "cuda12"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What pip is asked for.

    Attributes:
        wanted: requirements that are not met.
        kept: versions, by name, that must stay as they are.
    """

    wanted: tuple[str, ...]
    kept: dict[str, str]


def requirements(setup: Path = SETUP) -> list[str]:
    """What setup.py says that is always installed."""
    for node in ast.walk(ast.parse(setup.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "install_requires":
            return list(ast.literal_eval(node.value))
    raise ValueError(f"{setup}: no install_requires")


def plan(required: Iterable[str], installed: Mapping[str, str], has_gpu: bool) -> Plan:
    """Which requirements are to be installed, and which versions are to stay.

    Args:
        required: as `requirements` gives them.
        installed: versions by canonical name.
        has_gpu: whether the machine has an NVIDIA GPU.
    """
    wanted, kept = [], dict(installed)
    for line in required:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name in installed and requirement.specifier.contains(installed[name], prereleases=True):
            continue
        kept.pop(name, None)
        if name == "jax":
            kept = {other: version for other, version in kept.items() if not _WITH_JAX.fullmatch(other)}
            extra = _accelerator(installed, has_gpu)
            line = f"jax[{extra}]{requirement.specifier}" if extra else line
        wanted.append(line)
    if has_gpu and "jax" in kept and _accelerator(installed, False) == "":
        wanted.append(f"jax[{_CUDA}]=={installed['jax']}")
    return Plan(tuple(wanted), kept)


def _accelerator(installed: Mapping[str, str], has_gpu: bool) -> str:
    """The extra of JAX for what the machine has, "" for the CPU; a plugin that is there decides."""
    plugins = [match[1] for name in installed if (match := re.fullmatch(r"jax-(cuda\d+)-plugin", name))]
    if plugins:
        return plugins[0]
    return "tpu" if "libtpu" in installed else _CUDA if has_gpu else ""


def main() -> None:
    """Installs, and says what was installed and what has stayed.

    Raises:
        RuntimeError: pip could not; or a package was too old that this process has loaded already.
    """
    before = _versions()
    needed = plan(requirements(), before, _has_gpu())
    if needed.wanted:
        print(f"installing {', '.join(needed.wanted)}; this takes a minute or two", flush=True)
        _install(needed)
        importlib.invalidate_caches()
    after = _versions()
    new = [f"{name} {after[name]}" for name in sorted(after.keys() - before.keys())]
    replaced = {name: version for name, version in before.items() if after.get(name) != version}
    print(f"installed: {', '.join(new) or 'nothing, everything is there'}")
    for name, version in sorted(replaced.items()):
        print(f"replaced: {name} {version} by {after.get(name, 'nothing')}")
    print("in use: " + ", ".join(f"{name} {after[name]}" for name in ("jax", "numpy", "scipy", "flax")))
    if loaded := _loaded(replaced):
        raise RuntimeError(
            f"{', '.join(loaded)}: an older version was loaded already. Restart the session (Runtime > "
            "Restart session) and run all cells again; nothing is installed twice."
        )


def _versions() -> dict[str, str]:
    """Of every distribution that can be imported; of two of one name the one that is found first."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        if name := distribution.metadata["Name"]:
            found.setdefault(canonicalize_name(name), distribution.version)
    return found


def _has_gpu() -> bool:
    program = shutil.which("nvidia-smi")
    return program is not None and not subprocess.run([program, "-L"], capture_output=True).returncode


def _install(needed: Plan) -> None:
    """By pip, which may change nothing; where that cannot be, nothing that compiled code is built against."""
    fewer = {name: version for name, version in needed.kept.items() if _BUILT_AGAINST.fullmatch(name)}
    for kept in (needed.kept, fewer):
        done = _pip(needed.wanted, kept)
        if done.returncode == 0:
            return
    raise RuntimeError(f"pip could not install {', '.join(needed.wanted)}:\n{done.stdout}{done.stderr}")


def _pip(wanted: Sequence[str], kept: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        lines = [f"{name}=={version}\n" for name, version in kept.items() if _is_version(version)]
        constraints.write_text("".join(lines), encoding="utf-8")
        line = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(constraints), *wanted]
        return subprocess.run(line, capture_output=True, text=True)


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _loaded(names: Iterable[str]) -> list[str]:
    """Those of the distributions of which this process has imported a module."""
    replaced, found = set(names), set()
    if not replaced:
        return []
    for module, owners in metadata.packages_distributions().items():
        if module in sys.modules:
            found |= {canonicalize_name(owner) for owner in owners} & replaced
    return sorted(found)
