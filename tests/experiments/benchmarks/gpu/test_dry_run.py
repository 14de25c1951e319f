"""The whole GPU benchmark on a CPU, with tiny amounts, where little is installed: what may meet a card."""

import os
import shutil
import subprocess
import sys

import pytest

from dsdenseunet.core import files
from experiments.benchmarks.gpu.parts import PARTS
from tests.documents import ROOT

# A machine with a card has jax, flax, optax, orbax-checkpoint, absl and ml_collections, and what these need.
ABSENT = {
    *("grain", "array_record", "nibabel", "cc3d", "edt", "jinja2", "matplotlib", "tensorboardX", "tqdm"),
    *("torch", "hypothesis", "pytest", "_pytest"),
}
HIDE = f"""
from importlib.machinery import PathFinder
plain = PathFinder.find_spec
def find_spec(cls, name, path=None, target=None):
    return None if name.split(".")[0] in {ABSENT!r} else plain(name, path, target)
PathFinder.find_spec = classmethod(find_spec)
"""


# Every part starts processes, which take most of the time.
QUICK = ("rates", "networks", "depthwise", "volume", "memory")


def rehearse(folder, *arguments, hide=True):
    """Runs the program from a copy of the sources that is no clone; returns its record and the process."""
    for name in ("dsdenseunet", "experiments", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if hide:
        (folder / "sitecustomize.py").write_text(HIDE)
    # Where PyTorch may be, for what is compared with it.
    paths = [str(folder), *([] if hide else filter(None, [os.environ.get("PYTHONPATH")]))]
    environment = {
        **os.environ,
        **{
            "PYTHONPATH": os.pathsep.join(paths),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "JAX_PLATFORMS": "cpu",
        },
        # What is compiled runs once or twice.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmark_gpu", "--rehearse", "--out=out", *arguments],
        **{"cwd": folder, "env": environment, "text": True, "capture_output": True, "check": False},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return files.read_json(folder / "out/benchmark_gpu.json"), done


def went_wrong(record):
    """Cases that failed, as a whole or on one side."""
    return [
        found
        for found in (*record["results"], *record["parts"], *record["compiled"])
        if found.get("error") or found.get("failed") or found.get("wrong") or found["case"] == "stopped"
    ]


@pytest.mark.parametrize("parts", [QUICK, pytest.param(PARTS, marks=pytest.mark.long)], ids=("quick", "all"))
def test_parts_where_little_is_installed(tmp_path, parts):
    record, done = rehearse(tmp_path, "--minutes=30", f"--parts={','.join(parts)}")
    assert not went_wrong(record), f"{went_wrong(record)}\n{done.stdout}{done.stderr}"
    left_out = {found["part"] for found in record["parts"] if found["case"] == "left out"}
    assert left_out == {"schedule", "compiled"} & set(parts), "they need Grain, or PyTorch"
    done_parts = {found["part"] for found in record["parts"] if found["case"] == "done"}
    assert done_parts == set(parts) - left_out
    by_part = {found["part"]: found for found in record["results"]}
    assert set(by_part) == {"step", "inference", *(done_parts - {"networks"})}
    assert by_part["step"]["roofline"]["floor_s"] > 0 and by_part["step"]["seconds"]
    assert by_part["volume"]["patches"] > 1 and by_part["volume"]["roofline"]["times_the_floor"] > 0
    assert by_part["memory"]["predicted"] > 0
    if parts == PARTS:
        assert by_part["equality"]["share"] <= 1
        assert by_part["determinism"]["equal_bits"] == {"default": True, "deterministic": True}
    made_with = record["provenance"]
    assert made_with["commit"] is None and made_with["versions"]["dsdenseunet"]
    assert made_with["versions"]["grain"] is None or "grain" in made_with["versions"]


def test_the_schedule_from_the_real_input_pipeline_all_of_it(tmp_path):
    record, done = rehearse(tmp_path, "--minutes=10", "--parts=schedule", hide=False)
    assert not went_wrong(record), done.stdout + done.stderr
    first, whole = record["results"]
    assert first["case"] == "4 steps of 4" and whole["case"] == "4 steps, all of them run"
    assert first["whole_s"] > 0 and 0 <= first["stall_share"] < 1 and 0 < first["host_share_for_data"] < 1
    # Started again it has nothing to do.
    again = subprocess.run(
        [sys.executable, "-m", "experiments.benchmark_gpu", "--rehearse", "--out=out", "--parts=schedule"],
        **{"cwd": tmp_path, "text": True, "capture_output": True, "check": False},
        env={**os.environ, "PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"},
    )
    assert again.returncode == 0 and "round" not in again.stdout


@pytest.mark.long
@pytest.mark.bench
def test_pytorch_eager_and_compiled_stand_beside(tmp_path):
    pytest.importorskip("torch")
    parts = "--parts=rates,networks,depthwise,compiled"
    record, done = rehearse(tmp_path, "--minutes=30", parts, hide=False)
    assert not went_wrong(record), f"{went_wrong(record)}\n{done.stdout}{done.stderr}"
    steps = {found["case"]: found for found in record["results"] if found["part"] == "step"}
    assert set(steps["DS, float32, batch 1"]["seconds"]) == {"DS, ours", "DS, eager"}
    assert set(steps["DS, float32, batch 1, compiled"]["seconds"]) == {"DS, ours", "DS, compiled"}
    assert all(found["losses_agree"] for found in steps.values())
    assert record["provenance"]["versions"]["cuDNN of PyTorch"] >= 0
    assert {target["target"].split(",")[0] for target in record["targets"]} == {"DS training step"}
