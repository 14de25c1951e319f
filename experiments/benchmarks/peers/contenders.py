"""The contenders of a race, each as the commands that one would type, with its limits."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from experiments.benchmarks.measuring.worker import TUNED

PATCH = (40, 56, 40)
_HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Heat:
    """One contender's turn.

    Attributes:
        data: folder of the Decathlon task.
        train: names of the cases to learn from.
        test: names of the cases to segment.
        seconds: wall time for everything.
        seed: of whatever the contender draws.
        folder: to work in; label volumes go to `output`.
        left: seconds that are left of them now.
    """

    data: Path
    train: tuple[str, ...]
    test: tuple[str, ...]
    seconds: float
    seed: int
    folder: Path
    left: Callable[[], float]

    @property
    def output(self) -> Path:
        """Folder of the label volumes."""
        return self.folder / "predictions"


@dataclasses.dataclass(frozen=True)
class Contender:
    """A program and how it is called.

    Attributes:
        name: for the tables.
        commands: yields (stage, words) one by one; the next is asked for when the one before has ended.
        environment: variables for its processes.
    """

    name: str
    commands: Callable[[Heat], Iterator[tuple[str, Sequence[str]]]]
    environment: Mapping[str, str]


def ours(config: str, predict_s: float) -> Contender:
    """This project with one of its configs, by its documented commands.

    Args:
        config: as `--config` takes it.
        predict_s: seconds that are left for the prediction when the training ends.
    """

    def commands(heat: Heat) -> Iterator[tuple[str, Sequence[str]]]:
        def ours(command: str, *words: str) -> list[str]:
            return [sys.executable, "-m", f"experiments.{command}", *words]

        cache, workdir, scans = heat.folder / "cache", heat.folder / "run", heat.folder / "scans"
        # The cases that are scored must not choose weights: those are chosen on two of the other cases.
        train, validation = heat.train[:-2], heat.train[-2:]
        yield "prepare", ours("prepare", f"--data={heat.data}", f"--cache={cache}", "--workers=0")
        yield (
            "train",
            ours(
                "train",
                f"--config={config}",
                f"--workdir={workdir}",
                f"--config.seed={heat.seed}",
                f"--config.data.cache={cache}",
                f"--config.data.explicit.train={train!r}",
                f"--config.data.explicit.validation={validation!r}",
                f"--config.training.budget_seconds={heat.left() - predict_s:.1f}",
            ),
        )
        scans.mkdir()
        for name in heat.test:
            shutil.copy(heat.data / "imagesTr" / f"{name}.nii.gz", scans)
        yield (
            "predict",
            ours("predict", f"--workdir={workdir}", f"--input={scans}", f"--output={heat.output}"),
        )

    return Contender(config.rpartition("/")[2], commands, {})


def monai(python: str) -> Contender:
    """MONAI's plain UNet in an environment of its own."""
    return _peer("MONAI UNet", python, "monai_unet.py")


def nnunet(python: str) -> Contender:
    """nnU-Net's 3d_fullres in an environment of its own."""
    return _peer("nnU-Net", python, "nnunet.py")


def _peer(name: str, python: str, script: str) -> Contender:
    """A script of this folder, with memory as PyTorch is fastest with."""

    def commands(heat: Heat) -> Iterator[tuple[str, Sequence[str]]]:
        job = heat.folder / "job.json"
        files.write_json(
            job,
            {
                "data": str(heat.data),
                "train": heat.train,
                "test": heat.test,
                "output": str(heat.output),
                "seconds": heat.seconds,
                "seed": heat.seed,
                "patch": PATCH,
            },
        )
        yield "train and predict", [python, str(_HERE / script), str(job)]

    return Contender(name, commands, TUNED)


def peer_versions(flag: str, python: str | None, package: str) -> dict[str, str]:
    """Versions of what a peer's environment holds; nothing where there is none.

    Args:
        flag: that names the environment.
        python: its Python.
        package: the peer, by the name that it is installed by.

    Raises:
        InputError: the peer or PyTorch is not there.
    """
    if python is None:
        return {}
    script = (
        "import importlib.metadata as m, json; "
        f"print(json.dumps({{n: m.version(n) for n in ({package!r}, 'torch', 'numpy')}}))"
    )
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(
            flag,
            found=f"{python}: {done.stderr.strip()[-200:]}",
            expected=f"the Python of an environment with torch and {package}",
            fix=f"python3 -m venv peers && peers/bin/pip install torch nibabel {package}",
        )
    return dict(json.loads(done.stdout))


def fold(path: str, number: int) -> dict[str, tuple[str, ...]]:
    """One fold of a JSON list of {"train": names, "val": names}.

    Raises:
        InputError: not such a list, or shorter.
    """
    found = files.read_json(path)
    whole = isinstance(found, list) and number < len(found) and isinstance(found[number], dict)
    if not whole or not {"train", "val"} <= set(found[number]):
        raise InputError(
            path,
            found=f"no fold {number}",
            expected="a JSON list of folds, each with lists of names under train and val",
            fix="name another file or another --fold",
        )
    return {kind: tuple(found[number][kind]) for kind in ("train", "val")}
