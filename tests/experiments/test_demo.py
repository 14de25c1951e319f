"""The whole demo with the smallest network, on a machine whose package index lacks the sample."""

import json
import os
import re
import subprocess
import sys

from tests.training import tiny

SCRIPT = """
from pathlib import Path
from experiments import demo
from tests.training import tiny
demo.CONFIGS = [Path(tiny.__file__)]
demo.PHANTOM_SIZE = "32,32,32"
demo.cli.run(demo.main)
"""
# Runs at the start of every stage's process: a network that compiles in a second.
SITE = """
from dsdenseunet.models import registry
from tests.training import tiny
registry.build = tiny.build_tiny
"""


def run(folder):
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(SITE)
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, f"--out={folder / 'demo'}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        cwd=tiny.ROOT,
        env={**os.environ, "PIP_NO_INDEX": "1", "PYTHONPATH": f"{folder / 'site'}:{tiny.ROOT}"},
    )


def test_demo_goes_from_nothing_to_a_report_and_reuses_it(tmp_path):
    out = tmp_path / "demo"
    first = run(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "NO REAL CT" in first.stdout
    page = first.stdout.splitlines()[-1]
    assert page == str(out / "report.html")
    assert "These are not real CTs" in (out / "report.html").read_text()
    result = json.loads((out / "result.json").read_text())
    assert result["config_name"] == "tiny"
    assert result["data"]["kind"] == "phantom"
    assert 0 <= result["tumour_dice"] <= 1
    names = [stage["name"] for stage in result["stages"]]
    assert names == ["phantom/development", "phantom/held_out", "prepare", "train", "predict", "score"]
    # The held-out case is nobody's validation case.
    assert result["config"]["data"]["explicit"] == {"train": ["volume-0"], "validation": ["volume-1"]}

    again = run(tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert re.findall(r"== (\S+): done before, reused", again.stdout) == names
    assert again.stdout.splitlines()[-1] == page
