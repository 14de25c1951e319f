"""A training step, compiled in a process of its own for what it holds when.

    python -m dsdenseunet.memory.alive.program REQUEST.json ANSWER.json

As `planner.program`, which `planner.compiler.Compiler` starts, too.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsdenseunet.core import files
from dsdenseunet.memory.alive import buffers
from dsdenseunet.memory.alive.peak import alive
from dsdenseunet.memory.planner import hlo, program
from dsdenseunet.runtime.compilation import without_cache
from dsdenseunet.training.settings import config_from_json


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """Compiles the step of `request["config"]` for `request["target"]`, see `planner.program.measure`.

    Returns:
        `alive`; `memory`, bytes by the names of `CompiledMemoryStats`; `compiler_options`.
    """
    with program.lowering_for(request["target"]) as device:
        lowered, _ = program.lower_step(config_from_json(request["config"]), device)
    with tempfile.TemporaryDirectory() as folder, without_cache():
        compiled, options = program.compiled_with(lowered, {"xla_dump_to": folder})
        assignment = buffers.read(Path(folder))
    return {
        **alive(hlo.instructions(compiled.as_text()), assignment),
        "memory": program.memory_of(compiled),
        "compiler_options": options,
    }


if __name__ == "__main__":
    files.write_json(sys.argv[2], measure(files.read_json(sys.argv[1])))
