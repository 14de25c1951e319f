"""Nothing needs what only Linux or macOS has; `tests/as_on_windows.py` says what this does not show."""

import ast
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.as_on_windows import ABSENT, ABSENT_MODULES, OWN
from tests.documents import ROOT

# Where such a name is used all the same, and why that ends nothing elsewhere.
GUARDED = {
    # Else psutil is asked.
    "dsdenseunet/runtime/clock.py": "os.sysconf time.clock_gettime time.CLOCK_BOOTTIME",
    "experiments/benchmarks/measuring/peak_memory.py": "resource",
    # Where the system has it.
    "dsdenseunet/runtime/environment.py": "os.sched_getaffinity",
    "experiments/benchmarks/measuring/scored_pair.py": "os.sched_getaffinity os.sched_setaffinity",
    "experiments/benchmarks/measuring/torch_tasks.py": "os.sched_getaffinity",
    # Runs of several processes are refused on Windows.
    "dsdenseunet/runtime/supervision.py": "signal.SIGKILL",
    # Other projects' programs are raced on Linux and macOS.
    "experiments/benchmarks/peers/heats.py": "os.sched_getaffinity os.wait4",
}
# Measures NVIDIA's cards, for which JAX has a build for Linux alone.
LINUX_ONLY = "experiments/benchmarks/gpu/"
SOURCES = [path for folder in sorted(OWN) for path in sorted((ROOT / folder).rglob("*.py"))]


def names_that_windows_lacks(source):
    absent = {f"{module.__name__}.{name}" for module, names in ABSENT.items() for name in names.split()}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ABSENT_MODULES & {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            yield from ABSENT_MODULES & {node.module}
            yield from absent & {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from absent & {f"{node.value.id}.{node.attr}"}


def test_what_windows_lacks_is_used_where_it_is_asked_for_first():
    used = {str(path.relative_to(ROOT)): set(names_that_windows_lacks(path.read_text())) for path in SOURCES}
    found = {path: names for path, names in used.items() if names and not path.startswith(LINUX_ONLY)}
    assert found == {path: set(names.split()) for path, names in GUARDED.items()}


@pytest.mark.parametrize("source", ["import fcntl", "def f():\n    os.fork()", "from signal import SIGKILL"])
def test_such_a_name_is_found(source):
    assert list(names_that_windows_lacks(source))


def test_the_names_are_those_of_this_system():
    """Else a slip of the pen would take away nothing."""
    if sys.platform == "linux":
        assert not [
            f"{module.__name__}.{name}"
            for module in (os, signal, time)
            for name in ABSENT[module].split()
            if not hasattr(module, name)
        ]


def test_every_module_imports_and_a_run_trains_and_predicts_without_them(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.as_on_windows", tmp_path],
        **{"cwd": ROOT, "capture_output": True, "text": True, "check": False, "timeout": 300},
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "xla")},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stderr.splitlines()[-1])
    assert report["status"] == 0
    assert "dsdenseunet.data.pipeline" in report["modules"]
    assert "1 segmented" in done.stdout
