"""How the tests compile: quickly, as most programs run once or twice here."""

import os

# LLVM's expensive passes take most of the time of a compilation on a CPU. XLA's own passes, fusion among
# them, are those of a user's program all the same. A test that sets XLA_FLAGS for a process adds to these.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=1".strip()
