"""Ctrl-C ends a command in one line, and its workers with it; streams that nobody reads end nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT

# A command of the package `experiments` as it is, with what its users meet at different moments.
PROGRAM = """
import multiprocessing, sys, time
from concurrent.futures import ProcessPoolExecutor
{before}
from dsdenseunet.runtime import cli

def work(_):
    print("ready", flush=True)
    time.sleep(60)

def main(argv):
{inside}

if __name__ == "__main__":
    cli.run(main)
"""
POOL = """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        job = pool.submit(work, 0)
        try:
            job.result()
        finally:
            {leave}
"""


def start(folder, before="", inside="    work(0)"):
    package = folder / "experiments"
    package.mkdir()
    (package / "__init__.py").write_text((ROOT / "experiments/__init__.py").read_text())
    (package / "program.py").write_text(PROGRAM.format(before=before, inside=inside))
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.program"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


# A library that hides what interrupts it, while it is imported.
IMPORTING = """
print("ready", flush=True)
try:
    time.sleep(60)
except BaseException:
    pass
"""


@pytest.mark.parametrize(
    "moment",
    [
        {"before": f"if __name__ == '__main__':{IMPORTING.replace(chr(10), chr(10) + '    ')}"},
        {"inside": "    work(0)"},
        {"inside": POOL.format(leave="[p.terminate() for p in pool._processes.values()]")},
    ],
    ids=["while libraries are imported", "in the work", "in a worker"],
)
def test_ctrl_c_is_one_line(tmp_path, moment):
    process = start(tmp_path, **moment)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to the workers, too
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "interrupted\n")


def test_workers_end_when_the_command_is_gone(tmp_path):
    process = start(tmp_path, inside=POOL.format(leave="pass"))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.kill()
    # The pipe is closed only when all of them are gone.
    process.communicate(timeout=20)


def test_what_ignored_the_signal_goes_on_ignoring_it(tmp_path):
    """As a command that a script runs in the background does."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start(
            tmp_path, inside="    work(0) if len(argv) > 9 else print('ready', flush=True) or time.sleep(1)"
        )
    finally:
        signal.signal(signal.SIGINT, before)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


@pytest.mark.parametrize("flags", [[], ["-u"]], ids=["", "unbuffered"])
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_stream_that_nobody_reads_or_that_is_closed(flags, closed):
    script = (
        "import sys; from dsdenseunet.runtime import terminal; terminal.make_streams_robust()\n"
        f"for _ in range(9): print('text' * 9999, file=sys.{closed}, flush=True)\n"
        "print('done', file=sys.stdout if sys.argv[1] == 'stderr' else sys.stderr)\n"
    )
    for kind in ("broken", "absent"):
        reader, writer = os.pipe()
        os.close(reader)
        number = {"stdout": 1, "stderr": 2}[closed]
        redirection = f"{number}>&-" if kind == "absent" else f"{number}>&{writer}"
        done = subprocess.run(
            ["bash", "-c", f'"$@" {redirection}', "-", sys.executable, *flags, "-c", script, closed],
            **{"pass_fds": [writer], "capture_output": True, "text": True, "timeout": 60, "cwd": ROOT},
            check=False,
        )
        os.close(writer)
        assert done.returncode == 0, done
        assert done.stdout + done.stderr == "done\n"
