"""The whole demo with the smallest network, on a machine whose package index lacks the sample."""

import json
import os
import re
import subprocess
import sys

SCRIPT = """
from pathlib import Path
from experiments import demo
from tests.training import tiny
demo.CONFIGS = [Path(tiny.__file__)]
demo.PHANTOM_SIZE = "32,32,32"
demo.cli.run(demo.main)
"""


def run(out):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, f"--out={out}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env={**os.environ, "PIP_NO_INDEX": "1", "JAX_COMPILATION_CACHE_DIR": str(out / "xla")},
    )


def test_demo_goes_from_nothing_to_a_report_and_reuses_it(tmp_path):
    first = run(tmp_path / "demo")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "NO REAL CT" in first.stdout
    page = first.stdout.splitlines()[-1]
    assert page == str(tmp_path / "demo" / "report.html")
    assert "These are not real CTs" in (tmp_path / "demo" / "report.html").read_text()
    result = json.loads((tmp_path / "demo" / "result.json").read_text())
    assert result["config_name"] == "tiny"
    assert result["data"]["kind"] == "phantom"
    assert 0 <= result["tumour_dice"] <= 1
    names = [stage["name"] for stage in result["stages"]]
    assert names == ["phantom/development", "phantom/held_out", "prepare", "train", "predict", "score"]
    # The held-out case is nobody's validation case.
    assert result["config"]["data"]["explicit"] == {"train": ["volume-0"], "validation": ["volume-1"]}

    again = run(tmp_path / "demo")
    assert again.returncode == 0
    assert re.findall(r"== (\S+): done before, reused", again.stdout) == names
    assert again.stdout.splitlines()[-1] == page
