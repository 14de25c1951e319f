"""Notebooks: valid, without outputs, begun alike. Their commands: test_documented_commands.py."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import types
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from colab import install
from configs import demo
from dsdenseunet.data.samples import phantom
from dsdenseunet.data.samples import sample as fetched
from dsdenseunet.memory.alive import profile as alive_profile
from dsdenseunet.memory.alive import program as alive_program
from dsdenseunet.memory.planner import planning
from dsdenseunet.memory.planner.compiler import Compiler
from dsdenseunet.models import registry
from dsdenseunet.profiling import floor
from dsdenseunet.training.settings import config_to_json
from tests.documents import ROOT
from tests.memory.fake_compiler import FakeCompiler
from tests.training import tiny

NOTEBOOKS = sorted((ROOT / "colab").glob("*.ipynb"))
# What the format (4.5) asks for, by kind of cell.
KEYS = {
    "markdown": {"cell_type", "id", "metadata", "source"},
    "code": {"cell_type", "id", "metadata", "source", "execution_count", "outputs"},
}


def test_there_is_a_quick_start():
    assert ROOT / "colab" / "quickstart.ipynb" in NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_valid(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"].keys() == {"display_name", "language", "name"}
    identifiers = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    for cell in notebook["cells"]:
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
        assert set(cell) == KEYS[cell["cell_type"]]
        assert all(isinstance(line, str) for line in cell["source"])
        assert all(line.endswith("\n") for line in cell["source"][:-1])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_holds_no_outputs(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def code_cells(path):
    """Source by identifier."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_begin_alike(path):
    assert next(iter(code_cells(path).items())) == ("install", first_cell())


def first_cell():
    return code_cells(ROOT / "colab" / "quickstart.ipynb")["install"]


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """Runs the first cell in an empty folder, as on Colab; the commands that it ran."""
    ran = []

    def run(command, check):
        ran.append(command)
        if "clone" in command:
            (tmp_path / "dsdenseunet").symlink_to(ROOT)

    def begin(opened, typed=""):
        def reply(url, timeout):
            assert url == "http://172.28.0.12:9000/api/sessions"
            return io.BytesIO(json.dumps([{"name": "quickstart.ipynb", "path": opened}]).encode())

        monkeypatch.setattr(urllib.request, "urlopen", reply)
        monkeypatch.setattr("builtins.input", lambda prompt: typed)
        exec(compile(first_cell(), "first cell", "exec"), {})
        return ran

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ |= {"COLAB_JUPYTER_IP": "172.28.0.12", "KMP_TARGET_PORT": "9000"}
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(install, "main", lambda: ran.append("install"))
    return begin


@pytest.mark.parametrize("branch", ["main", "a/b", "0f1e2d"])
def test_the_address_is_the_notebooks_own(begun, branch, tmp_path):
    address = f"https://github.com/someone/a.fork/blob/{branch}/colab/quickstart.ipynb"
    clone, checkout, installed = begun("fileId=" + urllib.parse.quote(address))
    assert clone[-2:] == ["https://github.com/someone/a.fork.git", str(tmp_path / "dsdenseunet")]
    assert checkout[-1] == branch
    assert installed == "install"


def test_elsewhere_the_address_is_asked_for_once(begun, tmp_path):
    address = "https://example.org/code.git"
    assert [command[-2] for command in begun("fileId=1AbC", typed=f" {address} ")[:-1]] == [address]
    os.chdir(tmp_path)
    # Run again, the cell finds the code.
    assert len(begun("fileId=1AbC", typed="not asked")) == 3


def test_within_a_clone_nothing_is_fetched(begun, monkeypatch):
    monkeypatch.chdir(ROOT / "colab")
    assert begun("") == ["install"]
    assert Path.cwd() == ROOT


def test_quick_start_runs(monkeypatch, tmp_path):
    """Every cell, with the smallest network and phantoms in the place of the CT; commands are not run."""
    cells = code_cells(ROOT / "colab" / "quickstart.ipynb")
    del cells["install"]
    shown, commands = [], []
    ipython = types.ModuleType("IPython.display")
    ipython.HTML, ipython.Image, ipython.display = str, Path, shown.append
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    monkeypatch.setattr(demo, "get_config", one_phase)
    monkeypatch.setattr(fetched, "fetch_sample", phantoms)
    monkeypatch.chdir(tmp_path)
    names = {"command": lambda line: commands.append(line.format(**names))}

    def run(cell, old="", new=""):
        source = cells[cell].replace(old, new, 1)
        exec(
            compile(re.sub(r"^( *)!(.*)$", r"\1command(r'''\2''')", source, flags=re.M), cell, "exec"), names
        )

    for cell in cells:
        run(cell, "MINUTES = 5 ", "MINUTES = 0.02 ")
    data, first_batch, loss, dice, view, table = shown
    assert "<iframe srcdoc=" in data and "(outline)" not in data
    for picture in (first_batch, loss, dice, table):
        assert Image.open(io.BytesIO(picture.read_bytes())).width > 500
    assert "truth (outline)" in view
    assert 0 <= names["scores"]["modes"]["corrected"]["scores"]["liver_dice_per_case"] <= 1
    assert not commands

    # A folder of one's own, packed.
    shutil.make_archive("own", "zip", "quickstart/sample", "development")
    Path("configs").mkdir()
    Path("configs/own.html").write_text("<p>reasons</p>")
    run("own", 'DATA = ""', 'DATA = "own.zip"')
    run("own-train")
    assert '--data="own/data/development" ' in commands[0] and " --device=t4 " in commands[0]
    assert len(commands) == 2
    assert "&lt;p&gt;reasons" in shown[-1]


def test_memory_in_8_gb_runs(monkeypatch, tmp_path):
    """Every cell, likewise; the planner's figures are made up, those of what is alive are the real step's."""
    cells = code_cells(ROOT / "colab" / "memory_8gb.ipynb")
    del cells["install"]
    shown = []
    ipython = types.ModuleType("IPython.display")
    ipython.Image, ipython.display = Path, shown.append
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    monkeypatch.setattr(demo, "get_config", one_phase)
    monkeypatch.setattr(fetched, "fetch_sample", phantoms)
    monkeypatch.setattr(planning, "Compiler", FakeCompiler)
    monkeypatch.setattr(alive_profile, "Compiler", InThisProcess)
    monkeypatch.setattr(floor, "measured", lambda dtype: floor.Speed(1e9, 1e9))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell, source in cells.items():
        exec(compile(source.replace("MINUTES = 3 ", "MINUTES = 0.02 "), cell, "exec"), names)
    assert [picture.name for picture in shown] == ["plan.png", "loss.png", "alive.png"]
    for picture in shown:
        assert Image.open(io.BytesIO(picture.read_bytes())).width > 500
    assert names["plan"]["recommended"]["fits"]
    assert names["chosen"].data.patch_size == names["config"].data.patch_size
    assert sum(names["alive"]["reserved"].values()) > names["alive"]["peak"]["bytes"] > 0


class InThisProcess(Compiler):
    """As the compiler, where the smallest network is."""

    def figures(self, program, config, **more):
        return alive_program.measure({"config": config_to_json(config), "target": None})


def one_phase():
    config = tiny.get_config()
    config.training.phase = "phase1"
    return config


def phantoms(folder):
    """In the place of the sample."""
    development, held_out = Path(folder, "development"), Path(folder, "held_out")
    phantom.write_phantoms(development, cases=2, seed=0, size=(32, 32, 32))
    phantom.write_phantoms(held_out, cases=1, seed=1, size=(32, 32, 32))
    return fetched.Sample(development, held_out, "volume-0", "volume-1", "volume-0")
