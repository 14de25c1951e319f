"""A command and its terminal: Ctrl-C, a pipe that nobody reads any more, characters that it cannot show."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
from typing import IO, Any, NoReturn

EXIT_INTERRUPTED = 128 + signal.SIGINT


def begin() -> None:
    """Called before any library is imported, in a command's process and in its worker processes.

    Until the work begins (`cli.run`), Ctrl-C ends a command at once. A terminal sends it to the workers too:
    they leave it to the command, which finishes or ends them, and they end when the command is gone.
    """
    if "--multiprocessing-fork" in sys.orig_argv:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # So is a command called while Python looks for its module; a test or a notebook imports it otherwise.
    elif sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, frame: end_interrupted())


def interrupts_raise() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt: there may be something to finish."""
    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_interrupted() -> NoReturn:
    """Ends the process with one line and status 130, without the interpreter's usual shutdown."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        # A terminal has shown ^C in the line already.
        print("\ninterrupted" if sys.stderr.isatty() else "interrupted", file=sys.stderr, flush=True)
    os._exit(EXIT_INTERRUPTED)


def make_streams_robust() -> None:
    """Replaces standard output and error by streams that neither odd text nor a closed pipe can break.

    A character that the encoding lacks is shown as an escape. When the reader is gone (`| head -1`), the rest
    is dropped: the work and its exit status matter more. Any other fault, such as a full disk, is raised
    once.
    """
    sys.stdout = _robust(sys.stdout, sys.__stdout__, "standard output")
    sys.stderr = _robust(sys.stderr, sys.__stderr__, "standard error")


class _Raw(io.FileIO):
    """A file descriptor that drops what it is given from the first fault on."""

    def __init__(self, descriptor: int, shown: str):
        super().__init__(descriptor, "w", closefd=False)
        self._shown = shown

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if isinstance(error, BrokenPipeError):
                return len(data)
            error.filename = self._shown
            raise


def _robust(stream: Any, original: Any, shown: str) -> IO[str]:
    if stream is None:  # Closed by whoever started the command.
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    binary = getattr(stream, "buffer", None)
    if stream is not original or not isinstance(getattr(binary, "raw", binary), io.FileIO):
        return stream  # Somebody else's, such as a notebook's or a test's.
    stream.flush()
    raw = _Raw(stream.fileno(), shown)
    return io.TextIOWrapper(
        # python -u has no buffer.
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
