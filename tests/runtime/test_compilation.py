"""The cache of compiled programs, in processes of their own: JAX decides about it once a process.

An array that was made before the cache was turned on has once left it off for good (jax-ml/jax#25768).
"""

import subprocess
import sys
import types

import pytest

from dsdenseunet.runtime import compilation
from tests.documents import ROOT

PROGRAM = """
import jax, jax.numpy as jnp
from dsdenseunet.runtime.compilation import notice, use_compilation_cache
if {array_first}:
    (jnp.ones(3) + 1).block_until_ready()
use_compilation_cache()
jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x))(jnp.ones((4, 4))).block_until_ready()
print(notice("a program"))
"""


@pytest.mark.parametrize("array_first", [False, True])
def test_programs_are_kept_whatever_was_computed_before(tmp_path, monkeypatch, array_first):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(array_first=array_first)],
        capture_output=True,
        text=True,
        check=True,
    )
    folder = tmp_path / "dsdenseunet" / "xla"
    assert list(folder.glob("jit__lambda*")), "nothing was kept"
    assert str(folder) in done.stdout


@pytest.mark.parametrize("on", [True, False])
def test_a_cache_that_is_turned_off_is_not_promised(on, monkeypatch):
    values = {"jax_compilation_cache_dir": "a folder", "jax_enable_compilation_cache": on}
    config = types.SimpleNamespace(config=types.SimpleNamespace(values=values))
    monkeypatch.setattr(compilation, "jax", config)
    assert ("later starts take it from a folder" in compilation.notice("a program")) == on
