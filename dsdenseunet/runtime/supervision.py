"""Each process of a run over several hosts works as the child of one that waits and explains how it ended.

When one process of such a run dies, JAX's runtime aborts the others from a thread of its own, which no Python
code can catch. What it leaves is a stack trace; the waiting parent adds what happened and what to do, and an
exit status that means just that.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from dsdenseunet.core.errors import InputError

EXIT_PROCESS_LOST = 4
# The file descriptor by which the child notices that its parent has ended.
_LIFELINE = "DSDENSEUNET_LIFELINE"


def in_child() -> bool:
    """Whether this process is the one that works; it then ends together with its parent."""
    if _LIFELINE not in os.environ:
        return False
    # Processes that this one starts are not watched.
    descriptor = int(os.environ.pop(_LIFELINE))
    threading.Thread(target=_end_with_parent, args=(descriptor,), daemon=True).start()
    return True


def supervise() -> int:
    """Runs this program's own command again as a child and passes SIGTERM and SIGINT on to it.

    Returns:
        The child's exit status; `EXIT_PROCESS_LOST` where another process' end has ended it, and
        128 + the signal's number where a signal has.

    Raises:
        InputError: the system is Windows.
    """
    if os.name == "nt":
        raise InputError(
            "--coordinator",
            found="Windows, where no process can watch over another as this needs it",
            expected="Linux or macOS for a run of several processes",
            fix="leave it out: one process trains on all of this machine's devices",
        )
    reader, writer = os.pipe()
    environment = {**os.environ, _LIFELINE: str(reader)}
    status = run_child([sys.executable, *sys.orig_argv[1:]], env=environment, pass_fds=[reader])
    os.close(reader)
    os.close(writer)
    if status in (EXIT_PROCESS_LOST, -signal.SIGABRT):
        _say(
            "another process of this run, or the connection to it",
            found="it ended without a message (killed, out of memory, host or network lost)",
            expected="all processes to work until the end",
            fix="look for the cause in the other processes' output and in the lines above; the same "
            "commands resume from the last checkpoint, also with another number of processes",
        )
        return EXIT_PROCESS_LOST
    if status < 0:
        _say(
            "this process",
            found=f"ended by {signal.Signals(-status).name}",
            expected="to work until the end",
            fix="where nobody sent the signal, host memory may have run out: fewer data.workers, a smaller "
            "data.prefetch; the same commands resume from the last checkpoint",
        )
        return 128 - status
    return status


def run_child(command: Sequence[str], **options: Any) -> int:
    """Runs a command, passes SIGTERM and SIGINT on to it and waits for its end, however long that takes.

    Args:
        command: program and arguments.
        **options: of `subprocess.Popen`.

    Returns:
        its exit status; a signal's number below 0 where one has ended it.
    """
    # Ctrl-C reaches a whole group; a training run would take the second signal for a request to stop at once.
    child = subprocess.Popen(command, process_group=0, **options)

    def pass_on(number: int, _: Any) -> None:
        # Windows knows no such groups: the child has got Ctrl-C already, and could not be sent it.
        if os.name != "nt" or number != signal.SIGINT:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_for_lost_process(error: Exception) -> NoReturn:
    """Ends the child at once, as what JAX does at exit would wait for the process that is gone."""
    print(f"{type(error).__name__}: {str(error).strip()[:2000]}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_PROCESS_LOST)


def _end_with_parent(descriptor: int) -> None:
    # Nothing is ever written: reading returns when the parent is gone, however it went.
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def _say(where: str, found: str, expected: str, fix: str) -> None:
    error = InputError(where, found=found, expected=expected, fix=fix)
    print(f"error: {error}", file=sys.stderr, flush=True)
