"""One part, in a process of its own that the parent may end at any time.

python -m experiments.benchmarks.gpu.part_process SETTING PART
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from experiments.benchmarks.gpu import record
from experiments.benchmarks.gpu.parts import PARTS
from experiments.benchmarks.gpu.setting import Setting


def run(setting: Setting, name: str) -> int:
    """Adds each result to the file the moment it is known; exit status 1: the part failed."""
    about = {"part": name, "round": setting.round}
    try:
        for found in PARTS[name].measure(setting):
            beside = {"compiled_beside": True} if setting.compiling() else {}
            record.append(setting.results, {"part": name, **beside, **found})
    # Whatever the error, the other parts can still be measured.
    except Exception as error:
        text = f"{type(error).__name__}: {error}".strip()
        setting.say(f"{name}: failed: {text.splitlines()[-1]}")
        traceback.print_exc()
        record.append(setting.results, {**about, "case": record.FAILED, "error": text[-4000:]})
        return 1
    record.append(setting.results, {**about, "case": record.DONE})
    return 0


if __name__ == "__main__":
    sys.exit(run(Setting.load(Path(sys.argv[1])), sys.argv[2]))
