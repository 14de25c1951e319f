"""The contenders of a comparison, each as the commands that one would type, with its limits."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.layouts import Case
from dsdenseunet.inference.scans import prediction_name
from dsdenseunet.memory.description import describe
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import stages
from experiments.benchmarks.measuring.worker import TUNED
from experiments.benchmarks.peers import cases, run_log
from experiments.benchmarks.peers.budget import SECONDS, Budget
from experiments.benchmarks.peers.entries import Entry

_HERE = Path(__file__).parent
_NIFTI = re.compile(r".+\.nii(\.gz)?").fullmatch


@dataclasses.dataclass(frozen=True)
class Heat:
    """One contender's turn.

    Attributes:
        data: folder of the data set.
        cases: its scans, by name.
        train: names of the cases to learn from.
        test: names of the cases to segment.
        budget: what may be spent.
        seed: of whatever the contender draws.
        folder: to work in; label volumes go to `output`.
        left: seconds of a budget of time that are left now.
        log: of a stage, where its process prints to.
    """

    data: Path
    cases: Mapping[str, Case]
    train: tuple[str, ...]
    test: tuple[str, ...]
    budget: Budget
    seed: int
    folder: Path
    left: Callable[[], float]

    @property
    def output(self) -> Path:
        """Folder of the label volumes."""
        return self.folder / "predictions"

    def log(self, stage: str) -> Path:
        """What a stage's process prints."""
        return self.folder / f"{stage}.log"

    def last_line(self, stage: str) -> str:
        """The last line that a stage printed."""
        lines = self.log(stage).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


@dataclasses.dataclass(frozen=True)
class Contender:
    """A program and how it is called.

    Attributes:
        name: for the tables.
        commands: yields (stage, words) one by one; the next is asked for when the one before has ended.
        environment: variables for its processes.
        resumes: whether its commands go on where they were stopped; otherwise a heat begins anew.
        facts: of its network, before any heat: `parameters`, and `voxel_macs`, multiply-adds a voxel; of a
            cascade those of all stages together.
        measured: what it left about a heat: `steps`, `step_s`, `curve` and so on, see `run_log`.
    """

    name: str
    commands: Callable[[Heat], Iterator[tuple[str, Sequence[str]]]]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    resumes: bool = False
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    measured: Callable[[Heat], Mapping[str, Any]] = lambda heat: {}


def ours(entry: Entry, predict_s: float) -> Contender:
    """This project with one of its configs, by its documented commands.

    Args:
        entry: the config.
        predict_s: of a budget of time, seconds that are left for the prediction when the training ends.
    """

    def commands(heat: Heat) -> Iterator[tuple[str, Sequence[str]]]:
        def ours(command: str, *words: str) -> list[str]:
            return [sys.executable, "-m", f"experiments.{command}", *words]

        cache, workdir, scans = heat.folder / "cache", heat.folder / "run", heat.folder / "scans"
        # The cases that are scored must not choose weights: those are chosen on two of the other cases, if at
        # all.
        choosing = cases.to_choose_by(heat.train, entry.config.data.same_patient)
        train, validation = choosing if entry.chooses else (heat.train, ())
        data = (f"--data={heat.data}", f"--cache={cache}", "--workers=0")
        yield "prepare", ours("prepare", *entry.words, *data)
        fields = {
            "seed": f"{heat.seed}",
            "data.cache": f"{cache}",
            "data.explicit.train": f"{train!r}",
            "data.explicit.validation": f"{validation!r}",
        }
        if heat.budget.kind == SECONDS:
            shares = stages.shares_of_time(entry.config, heat.left() - predict_s)
            fields |= {field: f"{seconds:.1f}" for field, seconds in shares.items()}
        else:
            fields |= dict.fromkeys(stages.shares_of_time(entry.config, 0.0), "0.0")
            fields |= {f: f"{epochs}" for f, epochs in heat.budget.epochs(entry.config, entry.name).items()}
        own = (f"--config.{field}={value}" for field, value in fields.items())
        yield "train", ours("train", f"--workdir={workdir}", *entry.words, *own)
        scans.mkdir(exist_ok=True)
        for name in heat.test:
            for image in heat.cases[name].images:
                shutil.copy(image, scans)
        yield (
            "predict",
            ours("predict", f"--workdir={workdir}", f"--input={scans}", f"--output={heat.output}"),
        )

    def measured(heat: Heat) -> Mapping[str, Any]:
        run = heat.folder / "run"
        return run_log.together(
            {
                name: run_log.read(run / name / "metrics.jsonl", own.data.batch_size)
                for name, own in entry.networks.items()
            }
        )

    facts = {"parameters": 0, "voxel_macs": 0.0}
    for own in entry.networks.values():
        totals = describe(own.model, own.data.patch_size).totals()
        facts["parameters"] += totals["trainable"]
        facts["voxel_macs"] += totals["macs"] / math.prod(own.data.patch_size)
    return Contender(entry.name, commands, {}, True, facts, measured)


def monai(python: str, task: Task) -> Contender:
    """MONAI's plain UNet in an environment of its own."""
    return _peer("MONAI UNet", python, "monai_unet.py", task)


def nnunet(python: str, task: Task) -> Contender:
    """nnU-Net's 3d_fullres in an environment of its own."""
    return _peer("nnU-Net", python, "nnunet.py", task)


def _peer(name: str, python: str, script: str, task: Task) -> Contender:
    """A script of this folder, with memory as PyTorch is fastest with."""
    stage = "train and predict"

    def commands(heat: Heat) -> Iterator[tuple[str, Sequence[str]]]:
        job = heat.folder / "job.json"
        files.write_json(
            job,
            {
                "cases": {name: _paths(heat.cases[name]) for name in (*heat.train, *heat.test)},
                "classes": task.classes,
                "channels": [channel.name for channel in task.channels],
                "windows": [channel.numbers if channel.is_hounsfield else None for channel in task.channels],
                "train": heat.train,
                "test": heat.test,
                "output": str(heat.output),
                "seconds": heat.budget.amount,
                "seed": heat.seed,
            },
        )
        yield stage, [python, str(_HERE / script), str(job)]

    def measured(heat: Heat) -> Mapping[str, Any]:
        return dict(json.loads(heat.last_line(stage)))

    return Contender(name, commands, TUNED, measured=measured)


def _paths(case: Case) -> dict[str, Any]:
    """Files of a case, wherever its data set has them, and the name that its prediction is to have."""
    return {
        "images": [str(path.resolve()) for path in case.images],
        "labels": str(case.require_labels().resolve()),
        "output": prediction_name(case.name),
    }


def peers(
    known: Mapping[str, Case],
    task: Task,
    budgets: Sequence[Budget],
    core: int | None,
    monai_python: str | None,
    nnunet_python: str | None,
) -> tuple[list[Contender], dict[str, str]]:
    """The peers whose Python is given, and the versions of what their environments hold.

    Args:
        known: the labelled cases.
        task: what is segmented.
        budgets: of the comparison.
        core: that all run on.
        monai_python: of an environment with MONAI; None: it stays away.
        nnunet_python: of one with nnU-Net; likewise.

    Raises:
        InputError: an environment without the peer, or a comparison that peers cannot take part in.
    """
    versions = {
        **peer_versions("--monai", monai_python, "monai"),
        **peer_versions("--nnunet", nnunet_python, "nnunetv2"),
    }
    found = [monai(monai_python, task)] if monai_python else []
    found += [nnunet(nnunet_python, task)] if nnunet_python else []
    if found:
        used = (path for case in known.values() for path in (*case.images, case.require_labels()))
        others = [path for path in used if not _NIFTI(path.name)]
        for fits, what, expected in (
            (all(one.kind == SECONDS for one in budgets), "steps or images", "--budget in seconds alone"),
            (core is not None, "no --core", "--core, the one core that all of them run on"),
            (not others, f"files such as {next(iter(others), '')}", "NIfTI files, which they read"),
            (task.ignore_label < 0, "a label that counts nowhere", "labels that all of them learn"),
        ):
            if not fits:
                raise InputError(
                    "--monai or --nnunet",
                    found=what,
                    expected=expected,
                    fix="give it, or compare configs without peers",
                )
    return found, versions


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
