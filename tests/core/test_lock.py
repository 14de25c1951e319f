import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.lock import HOLDER_FILE, locked

HOLD = """
import sys
from dsdenseunet.core.lock import locked
with locked(sys.argv[1], "trains"):
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
        with (
            pytest.raises(InputError, match=f"in use by process {holder.pid} on .* since"),
            locked(tmp_path, "trains"),
        ):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with locked(tmp_path, "trains"):
        assert json.loads((tmp_path / HOLDER_FILE).read_text())["pid"] == os.getpid()


def test_released_at_the_end_and_after_an_error(tmp_path: Path):
    with pytest.raises(RuntimeError), locked(tmp_path / "new", "trains"):
        raise RuntimeError
    with locked(tmp_path / "new", "trains"):
        pass


def test_unreadable_holder_is_still_a_clear_error(tmp_path: Path):
    with locked(tmp_path, "trains"):
        (tmp_path / HOLDER_FILE).write_text("")
        with pytest.raises(InputError, match="in use by another process"), locked(tmp_path, "trains"):
            pass


def test_workdir_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), locked(tmp_path / "file", "trains"):
        pass


def test_read_only_workdir(tmp_path: Path):
    workdir = tmp_path / "read_only"
    workdir.mkdir(mode=0o555)
    if os.access(workdir, os.W_OK):
        # The superuser may write anywhere but into the kernel's own tree.
        workdir = Path("/proc/dsdenseunet")
    with pytest.raises(InputError, match="cannot be written"), locked(workdir, "trains"):
        pass
