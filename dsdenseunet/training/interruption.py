"""SIGTERM and SIGINT end a run between two steps, after a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import jax

from dsdenseunet.runtime import parallel

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """The run was stopped by a signal and its state is saved.

    Ends the process with `exit_status`, 128 + the signal's number, where nobody catches it.
    """

    def __init__(self, signal_number: int, where: str):
        self.exit_status = 128 + signal_number
        super().__init__(self.exit_status)
        self.message = (
            f"stopped by {signal.Signals(signal_number).name} at {where}; "
            "the state is saved, the same command continues from there"
        )

    def __str__(self) -> str:
        return self.message


class StopRequest:
    """Remembers the first stop signal while active; a second one acts as it did before."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, Any] = {}
        # Once all processes have agreed on a signal, every later call returns it.
        self._agreed = False
        self._asked: jax.Array | None = None

    def __bool__(self) -> bool:
        return self.signal_number is not None

    def agreed(self) -> bool:
        """Whether any process was asked to stop; all processes must call it at the same point, and wait."""
        self._agreed = self._agreed or parallel.any_process(bool(self))
        return self._agreed

    def agreed_between_steps(self) -> bool:
        """`agreed` without waiting: among several processes it returns the answer to the previous call.

        All processes must call it before every step. The devices compute the answer between two steps, so
        that it is ready when the host asks for it.
        """
        if parallel.process_count() == 1:
            return bool(self)
        asked, self._asked = self._asked, parallel.start_any_process(bool(self))
        self._agreed = self._agreed or (asked is not None and bool(asked))
        return self._agreed

    def interrupted(self, where: str) -> Interrupted:
        """The error that ends the run; another process may have got the signal."""
        return Interrupted(self.signal_number or signal.SIGTERM, where)

    def __enter__(self) -> StopRequest:
        # Python allows handlers in the main thread only; elsewhere signals are someone else's business.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._remember) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        self._restore()
        print(f"\n{signal.Signals(number).name}: saving and stopping (again: stop at once)", flush=True)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
