"""Two tiny configs are prepared for, trained by steps, predicted with and scored by the real commands."""

import os
import subprocess
import sys

from dsdenseunet.core import files
from dsdenseunet.data.samples import phantom
from tests.documents import ROOT

# In one process, as most of the time is spent on importing the libraries.
SCRIPT = """
import contextlib, json, pathlib, runpy, sys
from absl import flags
from dsdenseunet.models import registry
from dsdenseunet.runtime import cli, command_line
from dsdenseunet.training import cascade  # Grain's flags are not the commands'
from experiments.benchmarks.peers import heats
from tests.training import tiny

def run(module, arguments):
    outer = {name: flags.FLAGS[name] for name in set(flags.FLAGS) - known}
    for name in outer:
        delattr(flags.FLAGS, name)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code or 0
    finally:
        sys.modules.pop("config_config", None)
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
        for name, flag in outer.items():
            flags.FLAGS[name] = flag

def run_here(words, log, *others):
    with log.open("a") as output, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        return run(words[2], words[3:]), 0

def stop_before_the_last_stage(work):
    (heat,) = work.glob("*=0.1*.json")
    heat.unlink()
    record = heat.with_suffix("") / "stages.json"
    stages = json.loads(record.read_text())
    stages["stages"]["predict"]["done"] = False
    record.write_text(json.dumps(stages))

cli.run = lambda main: sys.exit(cli.call(main, command_line.parse(sys.argv)))
heats._run = run_here
registry.build = tiny.build_tiny
known = set(flags.FLAGS)
work, out, *arguments = sys.argv[1:]
status = run("experiments.compare", [*arguments, f"--workdir={work}", f"--out={out}"])
stop_before_the_last_stage(pathlib.Path(work))
sys.exit(status or run("experiments.compare", [*arguments, f"--workdir={work}", f"--out={out}-again"]))
"""


def test_a_comparison_by_steps_goes_on_where_it_was_stopped(tmp_path):
    phantom.write_phantoms(tmp_path / "data", cases=5, seed=0, size=(32, 32, 32))
    names = [f"tiny.py optimizer.learning_rate={rate}" for rate in (0.1, 0.01)]
    configs = ",".join(f"{ROOT}/tests/training/{name}" for name in names)
    given = (f"--configs={configs}", f"--data={tmp_path / 'data'}", "--budget=4steps", "--fold=1")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "work"), str(tmp_path / "out"), *given],
        **{"capture_output": True, "text": True, "check": False, "cwd": tmp_path, "env": environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = files.read_json(tmp_path / "out" / "comparison.json")
    first, second = record["results"]
    assert [result["contender"] for result in record["results"]] == names
    # Two phases, of an epoch of two steps of two patches each.
    assert (first["steps"], first["images"], len(first["curve"])) == (4, 8, 2)
    assert list(first["dice"]) == list(second["dice"]) and len(first["dice"]) == 1
    assert set(next(iter(first["dice"].values()))) == {"liver", "tumour"}
    assert list(first["stages"]) == ["prepare", "train", "predict"]
    for facts in record["networks"].values():
        # 1 x 3 x 3 x 4 and a bias, scale and offset, 4 x 3 and a bias.
        assert facts["parameters"] == 36 + 4 + 8 + 12 + 3
    assert record["compared"][0]["reason"] == "1 case is too few for any difference to show"
    assert names[1] in done.stdout and names[1] in (tmp_path / "out" / "comparison.html").read_text()
    # Only the stage that was not done is run again, and the result is the same.
    again = files.read_json(tmp_path / "out-again" / "comparison.json")["results"]
    assert again[1] == second and again[0]["dice"] == first["dice"]
    assert again[0]["stages"]["train"] == first["stages"]["train"]
    assert again[0]["stages"]["predict"] > first["stages"]["predict"]
