"""Tasks that a worker's process imports by name."""

import os
import time

import numpy as np


class Busy:
    """Spins or sleeps for a while."""

    def __init__(self, seconds=0.0, spin=False, allocate=0):
        self.seconds, self.spin, self.allocate = seconds, spin, allocate
        self.runs = 0

    def run(self):
        self.runs += 1
        print("what a library prints must not reach the parent")
        np.ones(self.allocate, np.uint8).sum()
        end = time.perf_counter() + self.seconds
        while self.spin and time.perf_counter() < end:
            pass
        time.sleep(max(0.0, end - time.perf_counter()))

    def outputs(self):
        return {"runs": np.asarray(self.runs), "process": np.asarray(os.getpid())}


def refuse():
    raise OSError("no such task")
