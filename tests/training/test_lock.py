import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.training.lock import LOCK_FILE, locked

HOLD = """
import sys, pathlib
from dsdenseunet.training.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_process_is_told_who_holds_it_and_a_killed_one_leaves_no_lock(tmp_path: Path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"in use by process {holder.pid} on .* since"), locked(tmp_path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_released_at_the_end_and_after_an_error(tmp_path: Path):
    with pytest.raises(RuntimeError), locked(tmp_path / "new"):
        raise RuntimeError
    with locked(tmp_path / "new"):
        pass


def test_unreadable_holder_is_still_a_clear_error(tmp_path: Path):
    with locked(tmp_path):
        (tmp_path / LOCK_FILE).write_text("")
        with pytest.raises(InputError, match="in use by another process"), locked(tmp_path):
            pass


def test_workdir_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), locked(tmp_path / "file"):
        pass


def test_read_only_workdir(tmp_path: Path):
    workdir = tmp_path / "read_only"
    workdir.mkdir(mode=0o555)
    if os.access(workdir, os.W_OK):
        # The superuser may write anywhere but into the kernel's own tree.
        workdir = Path("/proc/dsdenseunet")
    with pytest.raises(InputError, match="cannot be written"), locked(workdir):
        pass
