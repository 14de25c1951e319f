"""`--config.FIELD=VALUE` with a value of a wrong type, length or range: refused under its name."""

import json
import os
import subprocess
import sys

import pytest

from configs.base import base_config
from dsdenseunet.training.settings import flatten
from tests.training.tiny import ROOT

WRONG = {
    bool: ["maybe", "2", "(True,)"],
    int: ["abc", "1.5", "(1, 2)", "-1000000", "None", "nan"],
    float: ["abc", "(0.5,)", "nan", "inf", "None"],
    tuple: ["abc", "(", "('a', 5)", "((1,), 2)", "{}", "(-7, -7)"],
}
# Nothing is wrong with these: any text is one, or the value is one that fits.
FREE = {"name", "data.cache", "data.fold_file", "task.name"}
FITS = {
    ("task.stratify_by", ""),
    *((f"phases.{name}.start", "?") for name in ("phase1", "phase2")),
    *((f"phases.{name}.schedule", "") for name in ("phase1", "phase2")),
}

# One process for all: every start of Python takes a second.
SCRIPT = """
import contextlib, io, json, sys
from absl import flags
from experiments import train
from dsdenseunet.runtime import command_line
from dsdenseunet.core.errors import InputError
from dsdenseunet.training.settings import check_config

answers = []
for override in json.load(sys.stdin):
    flags.FLAGS.unparse_flags()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            command_line.parse(["train", "--config=configs/base.py:x", "--workdir=x", override])
        check_config(flags.FLAGS.config)
    except SystemExit as error:
        answers.append(f"{error.code}: {said.getvalue()}")
    except InputError as error:
        answers.append(f"2: {error}")
    else:
        answers.append("accepted")
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[tuple[str, str], str]:
    """(field, value) -> what the command says."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "whole.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from configs.base import base_config\ndef get_config():\n    return base_config()\n"
    )
    tried = [
        (name, wrong)
        for name, value in flatten(base_config().to_dict()).items()
        if name not in FREE
        for wrong in WRONG.get(type(value), ["", "?"])
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("configs/base.py:x", str(folder / "whole.py"))],
        **{"cwd": ROOT, "capture_output": True, "text": True, "check": False, "timeout": 300},
        input=json.dumps([f"--config.{name}={wrong}" for name, wrong in tried]),
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(tried, json.loads(done.stdout), strict=True))


def test_every_wrong_value_is_refused_by_the_name_of_its_field(answers):
    accepted = {key for key, answer in answers.items() if answer == "accepted"} - FITS
    assert not accepted
    unnamed = {key: answer for key, answer in answers.items() if key not in FITS and key[0] not in answer}
    assert not unnamed
    assert all(answer.startswith("2: ") for key, answer in answers.items() if key not in FITS)


def test_every_field_is_tried(answers):
    assert {field for field, _ in answers} | FREE == set(flatten(base_config().to_dict()))
