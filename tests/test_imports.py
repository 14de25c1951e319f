"""Imports go one way: configs and experiments on top, errors and files at the bottom; no arrow runs back."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What each part of dsdenseunet/ may import from the other parts. The order is that of the layers,
# bottom first: a part may name only parts above its own line.
ALLOWED = {
    "core": set(),
    "runtime": {"core"},
    "tasks": {"core"},
    "ops": {"core"},
    "losses": {"core"},
    "models": {"ops", "core"},
    "data": {"tasks", "core"},
    "evaluation": {"data", "tasks", "runtime", "core"},
    # From result files and NIfTI only: it never runs a model and never scores.
    "reporting": {"data", "tasks", "runtime", "core"},
    "inference": {"models", "ops", "data", "tasks", "runtime", "core"},
    "training": {
        "inference",
        "reporting",
        "evaluation",
        "models",
        "losses",
        "ops",
        "data",
        "tasks",
        "runtime",
        "core",
    },
    "export": {"training", "inference", "models", "ops", "data", "tasks", "runtime", "core"},
    "preflight": {"training", "models", "ops", "tasks", "runtime", "core"},
    "memory": {"training", "inference", "evaluation", "models", "ops", "data", "tasks", "runtime", "core"},
    # From runs to the scores of what they have held out.
    "cross_validation": {
        *("training", "inference", "evaluation", "reporting", "data", "tasks", "runtime", "core"),
    },
    "profiling": {"memory", "training", "data", "tasks", "runtime", "core"},
    # Chooses by what the compiler says fits.
    "configure": {"memory", "training", "models", "data", "tasks", "core"},
}
# These work on arrays, files and processes: no accelerator library, so that they start fast and run anywhere.
HOST_ONLY = (
    "core",
    "tasks",
    *(f"runtime.{name}" for name in ("cli", "command_line", "environment", "stages")),
    *("runtime.supervision", "runtime.terminal", "data", "evaluation", "reporting"),
)
ACCELERATOR = {"jax", "jaxlib", "flax", "optax", "orbax", "chex"}
RUNTIME = "dsdenseunet.runtime."
OWN = {"dsdenseunet", "experiments", "configs", "tests"}


def imported(source, module):
    """Dotted names that a module's source imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *([base] if base else [])])
            # `from dsdenseunet import files` imports a module, `from x.y import f` may.
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def part(name):
    """The part of dsdenseunet/ that a dotted name belongs to; "" for the package itself."""
    pieces = name.split(".")
    return pieces[1] if len(pieces) > 1 and not pieces[1].startswith("_") else ""


def backward_arrows(module, source):
    """What is wrong with a module's imports, a sentence each."""
    top = module.split(".")[0]
    wrong = []
    for name in sorted(imported(source, module)):
        target = name.split(".")[0]
        arrow = f"{module} imports {name}"
        if top == "configs" and target in OWN - {"configs"} and part(name) != "tasks":
            wrong.append(f"{arrow}: a config is plain values, it imports configs and tasks only")
        elif top == "experiments" and (target == "tests" or stands_beside(name)):
            wrong.append(f"{arrow}: entry points stand side by side, shared code belongs into dsdenseunet/")
        elif top == "dsdenseunet":
            if target in OWN - {"dsdenseunet"}:
                wrong.append(f"{arrow}: nothing in dsdenseunet/ knows of {target}/")
            wrong += arrows_within(module, name, arrow)
    return wrong


def stands_beside(name):
    """Whether a dotted name is an entry point; folders of experiments/benchmarks/ hold what they share."""
    pieces = name.split(".")
    shared = {path.name for path in (ROOT / "experiments/benchmarks").iterdir() if path.is_dir()}
    return pieces[0] == "experiments" and (
        pieces[1:2] != ["benchmarks"] or (len(pieces) > 2 and pieces[2] not in shared)
    )


def on_host(name):
    """Whether a module, or something in it, belongs to what needs no accelerator library."""
    return any(f"{name}.".startswith(f"dsdenseunet.{part}.") for part in HOST_ONLY)


def arrows_within(module, name, arrow):
    own, target = part(module), part(name)
    if own and own not in ALLOWED:
        return [f"{module}: a new part of dsdenseunet/; say in ALLOWED what {own} may import"]
    if on_host(module) and name.split(".")[0] in ACCELERATOR:
        return [f"{arrow}: {own} runs without an accelerator library"]
    if on_host(module) and name.startswith(RUNTIME) and not on_host(name):
        return [f"{arrow}: {own} runs without an accelerator library, which that part of runtime needs"]
    if name.startswith("dsdenseunet.") and target and target != own:
        if not own:
            return [f"{arrow}: the package's __init__ imports nothing"]
        if target not in ALLOWED[own]:
            allowed = ", ".join(sorted(ALLOWED[own])) or "nothing"
            return [f"{arrow}: the arrow {own} -> {target} runs back; {own} may import {allowed}"]
    return []


def modules():
    for folder in ("dsdenseunet", "experiments", "configs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def test_no_arrow_runs_back():
    wrong = [line for module, path in modules() for line in backward_arrows(module, path.read_text())]
    assert not wrong, "\n" + "\n".join(wrong)


def test_layers_are_in_order():
    below = set()
    for name, allowed in ALLOWED.items():
        assert allowed <= below, f"{name} may import {allowed - below}, which comes after it"
        below.add(name)


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("dsdenseunet.data.cache", "import jax.numpy as jnp", "data runs without an accelerator library"),
        ("dsdenseunet.inference.predict", "from dsdenseunet.training import loop", "inference -> training"),
        ("dsdenseunet.reporting.html", "from dsdenseunet.models import registry", "reporting -> models"),
        ("dsdenseunet.evaluation.scoring", "def f():\n    import flax", "evaluation runs without"),
        ("dsdenseunet.ops.conv", "from ..models import layers", "ops -> models"),
        (
            "dsdenseunet.training.loop",
            "from configs.base import base_config",
            "nothing in dsdenseunet/ knows",
        ),
        ("dsdenseunet.core.files", "from dsdenseunet.runtime import cli", "core -> runtime"),
        (
            "dsdenseunet.evaluation.scoring",
            "from dsdenseunet.runtime import parallel",
            "which that part of runtime needs",
        ),
        ("dsdenseunet.extra.new", "import math", "say in ALLOWED"),
        ("experiments.train", "from experiments import predict", "side by side"),
        ("experiments.benchmarks.cpu", "from experiments.benchmarks import scaling", "side by side"),
        (
            "dsdenseunet.ops.conv",
            "from experiments.benchmarks.measuring import pairs",
            "nothing in dsdenseunet/ knows",
        ),
        ("configs.demo", "from dsdenseunet.models import registry", "plain values"),
    ],
)
def test_an_arrow_that_runs_back_is_named(module, source, message):
    (line,) = backward_arrows(module, source)
    assert line.startswith(module)
    assert message in line


def test_arrows_that_run_forward_pass():
    source = (
        "import jax\n"
        "from dsdenseunet.core import files\n"
        "from dsdenseunet.runtime import parallel\n"
        "from dsdenseunet.models.registry import build"
    )
    assert backward_arrows("dsdenseunet.training.loop", source) == []


# What a command does without, and would wait for: together more than a second of its start.
SLOW = {
    "train": ("cc3d", "edt", "matplotlib", "nibabel", "pydicom", "scipy.spatial"),
    "predict": ("cc3d", "grain", "matplotlib"),
}


@pytest.mark.parametrize("command", SLOW)
def test_commands_start_without_what_only_others_need(command):
    code = f"import sys, experiments.{command}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not set(SLOW[command]) & set(run.stdout.split())
