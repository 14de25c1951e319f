"""A chain of commands that reuses what an earlier run has done, as make does, but by content.

A stage is done again when its command, a file that it reads or a file that it wrote has changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dsdenseunet.core import files
from dsdenseunet.runtime import supervision


class StageFailedError(RuntimeError):
    """A stage's command ended with a status other than 0: its own, or 128 + the number of a signal."""

    def __init__(self, name: str, status: int):
        super().__init__(f"stage {name!r} ended with status {status}")
        self.name, self.status = name, status


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage took, when it ran.

    Attributes:
        name: for the reader.
        command: as one would type it.
        seconds: wall clock.
        cpu_seconds: of all its processes, in user mode; None on Windows, which does not add them up.
        reused: whether this run found it done.
    """

    name: str
    command: str
    seconds: float
    cpu_seconds: float | None
    reused: bool


class Chain:
    """Runs stages, modules of one package, one after the other and records them in `<out>/stages.json`."""

    def __init__(self, out: str | os.PathLike[str], package: str = "experiments"):
        self._package = package
        self._file = Path(out) / "stages.json"
        self._records = files.read_object(self._file) if self._file.exists() else {}
        self.stages: list[Stage] = []

    def run(
        self,
        name: str,
        arguments: Sequence[str],
        reads: Iterable[Path],
        writes: Iterable[Path],
        *,
        environment: Mapping[str, str] | None = None,
        anew: Path | None = None,
    ) -> None:
        """Runs `python -m package.arguments...` unless it is done.

        Args:
            name: of the stage; unique.
            arguments: the module's name and its flags.
            reads: files and folders that decide its result.
            writes: files and folders that hold its result; the stage counts as done only while they last.
            environment: variables for this command, beside those that there are.
            anew: a folder of the stage that is removed first: it must not go on where it was stopped.

        Raises:
            StageFailedError: the command failed; what it printed is on the terminal.
        """
        module, *options = arguments
        arguments = ["-m", f"{self._package}.{module}", *options]
        variables = dict(environment or {})
        command = shlex.join([*(f"{key}={value}" for key, value in variables.items()), "python", *arguments])
        reads, writes = list(reads), list(writes)
        key = {"command": command, "reads": _digest(reads)}
        record = self._records.get(name)
        if not isinstance(record, dict) or not {"seconds", "cpu_seconds"} <= set(record):
            record = {}
        written = _digest(writes)
        reused = written is not None and record.get("writes") == written and record.get("key") == key
        if reused:
            _say(f"\n== {name}: done before, reused ({', '.join(map(str, writes))})")
        else:
            _say(f"\n== {name}\n$ {command}")
            if anew is not None:
                shutil.rmtree(anew, ignore_errors=True)
            seconds, cpu_seconds = self._execute(name, arguments, {**os.environ, **variables})
            record = {"key": key, "writes": _digest(writes), "seconds": seconds, "cpu_seconds": cpu_seconds}
            self._records[name] = record
            files.write_json(self._file, self._records)
            cpu = "" if cpu_seconds is None else f" ({cpu_seconds:.1f} s of CPU time)"
            _say(f"== {name}: {seconds:.1f} s{cpu}")
        self.stages.append(Stage(name, command, record["seconds"], record["cpu_seconds"], reused))

    def _execute(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[float, float | None]:
        start, cpu = time.perf_counter(), os.times().children_user
        status = supervision.run_child([sys.executable, *arguments], env=environment)
        if status:
            raise StageFailedError(name, status if status > 0 else 128 - status)
        cpu_seconds = None if os.name == "nt" else round(os.times().children_user - cpu, 2)
        return round(time.perf_counter() - start, 2), cpu_seconds


def _say(line: str) -> None:
    # At once, or it would come after what the stage's own process prints.
    print(line, flush=True)


def _digest(paths: Sequence[Path]) -> str | None:
    """SHA-256 over names and contents of all files; None where one of the paths does not exist."""
    digest = hashlib.sha256()
    for path in paths:
        if not path.exists():
            return None
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(os.fsencode(file) + f"\0{files.sha256(file)}\0".encode())
    return digest.hexdigest()
