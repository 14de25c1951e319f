import subprocess
import sys

import pytest

from dsdenseunet.configure import config_file
from dsdenseunet.configure.choice import Choice
from dsdenseunet.configure.configuring import read
from dsdenseunet.tasks.task import Task
from tests.configure.fingerprints import CT, a_task
from tests.documents import ROOT


def ruff(*arguments, text):
    return subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", "configs/written.py", "-"],
        **{"input": text, "cwd": ROOT, "capture_output": True, "text": True, "check": False},
    )


MANY = Task.of(
    {
        **a_task(("background", *(f"label_with_a_long_name_{n}" for n in range(1, 12))), (CT,)).to_config(),
        "name": 'The "liver\'s" \\ Übung',
    }
)
CHOICES = [
    Choice(
        "model",
        {"model": {"family": "unet", "in_channels": 1, "widths": (32,), "epsilon": 1e-5}},
        "A word. " * 40,
    ),
    Choice(
        "others",
        {
            "augment.rotation": {"probability": 0.2, "degrees": (30.0, 30.0, 30.0)},
            "optimizer.muon_parameters": tuple(f"params/part_{n}*" for n in range(12)),
            "loss.cross_entropy.class_weights": (1.0,) * 12,
            "phases": {"first": 3, "second": 4},
            "task.detect": ("label_with_a_long_name_1",),
        },
        'Names such as "ü" and \\.',
    ),
    Choice("nothing", {}, "Not written."),
]


@pytest.mark.parametrize(("task", "choices"), [(a_task(), CHOICES[1:]), (MANY, CHOICES)])
def test_written_configs_are_as_ruff_leaves_them(task, choices):
    text = config_file.text(
        'Title with """ inside.', ["    python -m " + "x" * 120, "", "Words."], "a", task, choices
    )
    assert ruff("check", text=text).stdout.startswith("All checks passed")
    assert ruff("format", text=text).stdout == text
    assert "Not written" not in text


def test_a_written_config_says_what_was_chosen():
    config = read(config_file.text("Title.", [], "a", MANY, CHOICES))
    assert Task.of(config.task) == MANY
    assert config.model.to_dict() == {"family": "unet", "in_channels": 1, "widths": (32,), "epsilon": 1e-5}
    assert config.phases.order == ("first", "second")
    assert config.phases.second.epochs == 4
    assert config.augment.rotation.degrees == (30.0, 30.0, 30.0)
    assert config.optimizer.muon_parameters == CHOICES[1].settings["optimizer.muon_parameters"]
