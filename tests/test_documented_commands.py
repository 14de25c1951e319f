"""Every command that a document shows: it parses, what it names exists, and the quick ones really run.

What takes long is run for real elsewhere: `experiments.demo`, which chains fetch_sample, prepare, train,
predict and evaluate, by tests/experiments/test_demo.py; `experiments.train` by test_train.py beside it;
`make demo` and `make test` by whoever releases (`make test` runs this).
"""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from configs.base import base_config
from dsdenseunet.training.settings import flatten
from tests import documents
from tests.begin_commands import begin

ROOT = documents.ROOT
# By their names below `experiments.`: `train`, `benchmarks.cpu`.
EXPERIMENTS = {
    ".".join(path.relative_to(ROOT / "experiments").with_suffix("").parts): path
    for path in documents.entry_points()
}
MODULES = {"pip", "venv", "json.tool", "http.server"}
PROGRAMS = {
    ".",
    "git",
    "cd",
    "ls",
    "cat",
    "mkdir",
    "cp",
    "rm",
    "unzip",
    "source",
    "kill",
    "for",
    "done",
    "fi",
    "wait",
    "tensorboard",
    "sbatch",
}
COMMANDS = [
    (where, words) for path in documents.documents() for where, words in documents.shell_commands(path)
]


def experiment_of(words):
    """(module, arguments) of `python -m experiments.module arguments`, else None."""
    if len(words) > 2 and words[1] == "-m" and words[2].startswith("experiments."):
        return [words[2].removeprefix("experiments."), *words[3:]]
    return None


def extras():
    text = (ROOT / "setup.py").read_text()
    return set(re.findall(r'"(\w+)": \[', text))


def wrong_with(words):
    """What is wrong with a command that is no entry point of experiments/; None for nothing."""
    program = words[0].removeprefix(".venv/bin/")
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        unknown = [word for word in words[1:] if "=" not in word and word not in targets]
        return f"the Makefile has no target {', '.join(unknown)}" if unknown else None
    if program in ("python", "python3", "pip"):
        module = "pip" if program == "pip" else words[2] if words[1:2] == ["-m"] else ""
        if module == "pip":
            asked = {e for word in words for e in ",".join(re.findall(r"\[(.*?)\]", word)).split(",") if e}
            return f"setup.py has no extra {asked - extras()}" if asked - extras() else None
        script = next((word for word in words[1:] if word.endswith(".py")), "")
        known = module in MODULES or module == "pytest" or (script and (ROOT / script).is_file())
        return None if known else f"unknown: {shlex.join(words)}"
    if program in ("ruff", "mypy", "pytest"):
        paths = [word.partition("::")[0] for word in words[1:] if word.startswith(("tests/", "dsdenseunet/"))]
        missing = [path for path in paths if not (ROOT / path).exists()]
        return f"no such file: {missing}" if missing else None
    return None if program in PROGRAMS else f"{program}: not known here; say in this test how it is checked"


def test_commands_are_found():
    assert len(COMMANDS) > 20
    assert any(where.startswith("README.md") and words == ["make", "demo"] for where, words in COMMANDS)
    seen = {experiment[0] for _, words in COMMANDS if (experiment := experiment_of(words))}
    assert seen == set(EXPERIMENTS), "every entry point is documented, and what is documented exists"


# What the parsing must refuse, and a part of its message.
REFUSED = [
    (["prepare", "--data=scans"], "no --cache"),
    (["prepare", "--data=scans", "--cache=c", "--absent=1"], "absent"),
    (["prepare", "--data=scans", "--cache=c", "word"], "word"),
    (["describe", "--config=configs/absent.py"], "no such file"),
    (["describe", "--config=configs/decathlon.py:tests"], "error: tests/dataset.json"),
    (["describe", "--config=configs/demo.py", "--config.model.absent=1"], "no field"),
    (["evaluate", "--predictions=p", "--references=r", "--out=o", "--mode=other"], "other"),
]


# Configs that documented commands write, for others to take.
WRITTEN = {
    f"--config={word.removeprefix('--out=')}"
    for _, words in COMMANDS
    if (experiment := experiment_of(words)) and experiment[0] == "configure"
    for word in words
    if word.startswith("--out=")
}


def with_a_config_that_is_there(words):
    return ["--config=configs/demo.py" if word in WRITTEN else word for word in words]


def test_every_command_parses():
    experiments = [(where, experiment) for where, words in COMMANDS if (experiment := experiment_of(words))]
    for path in (*EXPERIMENTS.values(), *(ROOT / "configs").glob("*.py")):
        docstring = path.read_text().split('"""')[1]
        usages = re.findall(r"python -m experiments\.[\w.]+.*", docstring)
        experiments += [(path.name, experiment_of(documents.usage_words(usage))) for usage in usages]
    answers = begin(
        [with_a_config_that_is_there(experiment) for _, experiment in experiments]
        + [words for words, _ in REFUSED]
    )
    for (words, part), (status, message) in zip(REFUSED, answers[-len(REFUSED) :], strict=True):
        assert status == 2 and part in message, f"{words} gave {message}"
    wrong = [
        f"{where}: python -m experiments.{shlex.join(experiment)}\n{message}"
        for (where, experiment), (status, message) in zip(experiments, answers)
        if status
    ]
    wrong += [
        f"{where}: {message}"
        for where, words in COMMANDS
        if not experiment_of(words) and (message := wrong_with(words))
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["make", "absent"], "no target absent"),
        (["pip", "install", ".[cuda11]"], "no extra"),
        (["python", "absent.py"], "unknown"),
        (["pytest", "tests/absent.py"], "no such file"),
        (["curl", "x"], "not known here"),
    ],
)
def test_wrong_commands_are_told(words, message):
    assert message in wrong_with(words)


def test_python_snippets_compile_and_import_what_exists():
    for path in documents.documents():
        for block in documents.blocks(path):
            if block.language in ("python", "py"):
                compile(block.text, block.where, "exec")
                for module, names in re.findall(
                    r"^from (dsdenseunet[\w.]*|configs[\w.]*) import ([\w, ]+)", block.text, re.MULTILINE
                ):
                    own = [name.partition(" as ")[0] for name in names.split(", ")]
                    check_names(block.where, module, own)


def check_names(where, module, names):
    """By their files and definitions: nothing is imported."""
    base = ROOT / module.replace(".", "/")
    for name in (name.partition(" as ")[0] for name in names):
        if (base / f"{name}.py").is_file() or (base / name).is_dir():
            continue
        source = base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
        assert source.is_file(), f"{where}: no module {module}"
        given = rf'^(def|class) {name}\b|^{name}\b.*=|^__all__ = .*"{name}"'
        defined = re.search(given, source.read_text(), re.MULTILINE)
        assert defined, f"{where}: {module} has no {name}"


def test_links_lead_somewhere():
    broken = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in documents.documents()
        if path.suffix == ".md"
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / link).exists()
    ]
    assert not broken, "\n" + "\n".join(broken)


# The reference's quick commands in its order, with what makes them small; the others: see above.
SMALL = {
    "make_phantoms": ["--cases=2", "--size=40,48,48"],
    "doctor": ["--workers=1"],
    "configure": ["--out=my_task.py", "--nocompile", "--workers=1"],
    "prepare": ["--workers=0"],
    "evaluate": ["--workers=1"],
    "view": [
        "--image=phantoms/volume-0.nii",
        *("--prediction=predictions/test-segmentation-0.nii", "--reference=phantoms/segmentation-0.nii"),
    ],
    "submit": ["--partial"],
    "describe": [],
    "benchmarks.scaling": [],
    "benchmarks.scoring": ["--size=48,48,48", "--lesions=2"],
}


def test_quick_commands_run(tmp_path):
    """As the reference shows them, one after the other in one folder."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    reference = documents.shell_commands(ROOT / "docs/reference/commands.md")
    commands = [experiment for _, words in reference if (experiment := experiment_of(words))]
    ran = []
    for name, *arguments in commands:
        if name not in SMALL:
            continue
        if name == "evaluate":
            pretend_to_predict(tmp_path)
        done = subprocess.run(
            [sys.executable, "-m", f"experiments.{name}", *arguments, *SMALL[name]],
            **{"cwd": tmp_path, "text": True, "capture_output": True, "check": False, "timeout": 300},
            env=environment(),
        )
        assert done.returncode == 0, f"{name}\n{done.stdout}{done.stderr}"
        ran.append(name)
    assert ran == list(SMALL)
    assert json.loads((tmp_path / "description.json").read_text())["trainable"] == 36_270_883
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert scores["modes"]["corrected"]["scores"]["liver_dice_per_case"] == 1
    assert (tmp_path / "submission.zip").is_file()
    assert (tmp_path / "volume-0.html").is_file()
    assert (tmp_path / "my_task.html").is_file()


def pretend_to_predict(folder):
    """The folders that `predict` would leave and `submit` be given: labels are their own prediction."""
    for target, kind, name in (
        ("predictions", "segmentation", "test-segmentation"),
        ("references", "segmentation", "test-segmentation"),
        ("test", "volume", "test-volume"),
    ):
        (folder / target).mkdir()
        for number in range(2):
            copy = folder / target / f"{name}-{number}.nii"
            copy.write_bytes((folder / "phantoms" / f"{kind}-{number}.nii").read_bytes())


def test_every_flag_is_in_the_reference():
    text = (ROOT / "docs/reference/commands.md").read_text()
    sections = dict(re.findall(r"^## ([\w.]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(EXPERIMENTS), "docs/reference/commands.md: a section for each entry point"
    for name, section in sections.items():
        source = EXPERIMENTS[name].read_text()
        flags = set(re.findall(r'(?:DEFINE_\w+|output_\w+|cli\.word)\(\s*"(\w+)"', source))
        documented = set(re.findall(r"^\| `--(\w+)` \|", section, re.MULTILINE))
        assert documented == flags, f"docs/reference/commands.md, {name}"


def test_every_field_is_in_the_reference():
    text = (ROOT / "docs/reference/configuration.md").read_text()
    documented = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", text, re.MULTILINE))
    # A row for each field of a phase, with what the first one has.
    phases = base_config().phases.order
    fields = {
        name.replace(f"phases.{phases[0]}.", "phases.NAME."): value
        for name, value in flatten(base_config().to_dict()).items()
        if not name.startswith(tuple(f"phases.{other}." for other in phases[1:]))
    }
    assert set(documented) == set(fields)
    for name, value in fields.items():
        shown = documented[name].strip("`")
        assert shown == (str(value) if value != "" else "empty"), f"docs/reference/configuration.md, {name}"
