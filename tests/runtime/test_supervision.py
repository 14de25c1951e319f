"""What a process of many leaves when it ends, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dsdenseunet.runtime.supervision import EXIT_PROCESS_LOST
from tests.documents import ROOT

SCRIPT = """
import os, resource, signal, sys, time
from dsdenseunet.runtime import supervision
if not supervision.in_child():
    sys.exit(supervision.supervise())
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
"""


def start(action):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + action, "word"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("action", "status", "said"),
    [
        ("sys.exit(3)", 3, ""),
        ("assert sys.argv[1:] == ['word']", 0, ""),
        ("os.abort()", EXIT_PROCESS_LOST, "error: another process of this run"),
        (
            "supervision.leave_for_lost_process(RuntimeError('closed by peer'))",
            EXIT_PROCESS_LOST,
            "RuntimeError: closed by peer\nerror: another process of this run",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "found:    ended by SIGKILL"),
    ],
)
def test_every_end_has_its_status_and_its_words(action, status, said):
    process = start(action)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert said in errors
    assert bool(said) == bool(errors)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_child_once(number):
    process = start(
        """
seen = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: seen.append(number))
print("ready", flush=True)
while not seen:
    time.sleep(0.01)
time.sleep(0.3)
sys.exit(100 + 10 * len(seen) + seen[0])
"""
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 110 + number


def test_the_child_of_a_killed_parent_does_not_stay():
    process = start("print(os.getpid(), flush=True); time.sleep(60)")
    child = int(process.stdout.readline())
    process.kill()
    # The pipe is closed only when the child, too, is gone.
    assert process.communicate(timeout=20) == ("", "")
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
