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


class Step:
    """Its loss is another in every process, unless XLA is told to be deterministic."""

    def run(self):
        pass

    def outputs(self):
        deterministic = "--xla_gpu_deterministic_ops=true" in os.environ["XLA_FLAGS"].split()
        loss = np.asarray(0 if deterministic else os.getpid())
        return {"loss": loss, "grad_norm": np.asarray(1.0), "device_peak_gib": np.asarray(os.getpid())}
