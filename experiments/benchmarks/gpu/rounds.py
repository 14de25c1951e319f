"""All parts within a given time, each in a process of its own; continues where it stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.runtime import environment
from experiments.benchmarks.gpu import record
from experiments.benchmarks.gpu.parts import PARTS
from experiments.benchmarks.gpu.setting import Amounts, Setting

RESULTS, RECORD = "results.jsonl", "benchmark_gpu.json"
_ROUNDS = (1, 2)
# Of a part: less is not worth its start.
_LEAST_S = 10.0
# Between two looks at a part.
_LOOK_S = 0.1
_SLOW_PEER = "2.9."


def run(config: Mapping[str, Any], names: Sequence[str], out: Path, seconds: float, amounts: Amounts) -> None:
    """Measures the named parts, the first round of all of them before the second of any.

    What a part finds is added to results.jsonl in `out` the moment it is known, and after each part
    benchmark_gpu.json is made of it. Started again with the same folder it continues: parts that are done are
    skipped, and so are cases of the others that were measured.

    Args:
        config: a resolved config as plain values; `model.separable`, `model.dtype` and `data.batch_size` are
            set as the parts need them.
        names: of `PARTS`.
        out: folder of the results.
        seconds: for everything.
        amounts: how much of each thing is done.
    """
    ends = time.time() + seconds
    # Processes that this one has started end with it.
    told_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_to_end.set())
    out.mkdir(parents=True, exist_ok=True)
    results = out / RESULTS
    peer, note = _peer()
    print(note, flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        setting = Setting(config, amounts, peer, results, Path(temporary), ends=ends)
        to_compile = [name for name in names if _is_due(results, name, 1)]
        with _compiling(setting, to_compile) as compiler:
            for number, name in itertools.product(_ROUNDS, names):
                if _is_due(results, name, number) and not told_to_end.is_set():
                    _run_part(dataclasses.replace(setting, round=number), name, compiler, told_to_end)
                    files.write_json(out / RECORD, record.assemble(record.read(results)))
    if told_to_end.is_set():
        raise SystemExit(128 + signal.SIGTERM)
    for target in record.assemble(record.read(results))["targets"]:
        word = "met   " if target["met"] else "MISSED"
        print(f"{word} {target['target']}; measured {target['measured']} ({target['case']})", flush=True)


def _is_due(results: Path, name: str, number: int) -> bool:
    known = record.read(results)
    if number == 1 or PARTS[name].more:
        return not record.is_done(known, name, number)
    return not record.is_done(known, name, 1)


def _peer() -> tuple[bool, str]:
    """Whether PyTorch stands beside, and why."""
    if find_spec("torch") is None:
        return False, "PyTorch is not installed: ours alone is measured"
    version = environment.installed_version("torch") or "of an unknown version"
    if version.startswith(_SLOW_PEER):
        return False, f"PyTorch {version} is left out: its conv3d falls back to a form 10 to 20 times slower"
    return True, f"PyTorch {version} stands beside"


def _run_part(
    setting: Setting, name: str, compiler: subprocess.Popen[bytes] | None, told_to_end: threading.Event
) -> None:
    start = time.monotonic()
    part, about = PARTS[name], {"part": name, "round": setting.round}
    left = setting.left_s()
    if missing := part.missing():
        reason = f"needs {', '.join(missing)}"
    elif left < _LEAST_S:
        reason = f"{max(0.0, left):.0f} s are too few"
    else:
        reason = ""
    if reason:
        print(f"{name}: left out, {reason}", flush=True)
        record.append(setting.results, {**about, "case": record.LEFT_OUT, "why": reason})
        return
    allowed = part.limit_s * setting.amounts.patience
    limit = min(left, allowed) if setting.round == 1 else left
    path = setting.folder / "setting"
    dataclasses.replace(setting, ends=time.time() + limit).save(path)
    process = _start("part_process", str(path), name)
    try:
        while process.poll() is None and not told_to_end.wait(_LOOK_S):
            if time.monotonic() - start > limit:
                print(f"{name}: ended after {limit:.0f} s", flush=True)
                record.append(setting.results, {**about, "case": record.STOPPED, "after_s": round(limit, 1)})
                break
    finally:
        _end(process)
        if compiler is not None:
            # The part may have been ended while it had stopped the compiling.
            with contextlib.suppress(OSError):
                os.killpg(compiler.pid, signal.SIGCONT)
    took = time.monotonic() - start
    record.append(setting.results, {**about, "case": record.TOOK, "seconds": round(took, 1)})
    print(f"{name}, round {setting.round}: {took:.0f} s, {setting.left_s():.0f} s left", flush=True)


@contextlib.contextmanager
def _compiling(setting: Setting, names: Sequence[str]) -> Iterator[subprocess.Popen[bytes] | None]:
    """Compiles the parts' programs meanwhile."""
    able = [name for name in names if not PARTS[name].missing()]
    if not able:
        yield None
        return
    path = setting.folder / "compile_setting"
    setting.save(path)
    setting.compiling_id.touch()
    process = _start("compile_process", str(path), *able)
    setting.compiling_id.write_text(str(process.pid), encoding="ascii")

    def note_the_end() -> None:
        process.wait()
        setting.compiling_id.unlink(missing_ok=True)

    threading.Thread(target=note_the_end, daemon=True).start()
    try:
        yield process
    finally:
        _end(process)


def _start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A process that leads a group of its own, so that its own processes can be ended with it."""
    root = str(Path(__file__).resolve().parents[3])
    shared = {
        # Several processes share the GPU's memory.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        # From the environment, as an array made before it is set would keep the cache from being used.
        "JAX_COMPILATION_CACHE_DIR": str(files.cache_folder() / "xla"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.benchmarks.gpu.{module}", *arguments],
        env={**shared, **os.environ, "PYTHONPATH": shared["PYTHONPATH"]},
        process_group=0,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends it and everything that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
