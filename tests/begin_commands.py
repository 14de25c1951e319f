"""Begins commands as the entry points themselves would, up to where their work begins.

One process for all of them, as most of the time is spent on importing the libraries.
"""

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
import traceback

from absl import app, flags

from dsdenseunet.runtime import cli, command_line
from tests.documents import ROOT


def begin(commands, cwd=ROOT):
    """(exit status, what the terminal shows) of each [module, *arguments]; 0 where the work would begin."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.begin_commands"],
        input=json.dumps(commands),
        **{"cwd": cwd, "text": True, "capture_output": True, "check": False, "timeout": 300},
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    return [tuple(answer) for answer in json.loads(done.stdout)]


def _begin(module, arguments):
    known = set(flags.FLAGS)
    sys.argv = [module, *arguments]
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown), contextlib.redirect_stdout(shown):
            runpy.run_module(f"experiments.{module}", run_name="__main__", alter_sys=True)
    except SystemExit as stopped:
        return stopped.code or 0, shown.getvalue()
    except Exception:
        return 1, traceback.format_exc()
    finally:
        flags.FLAGS.unparse_flags()
        sys.modules.pop("config_config", None)  # the config's file, as ml_collections names it
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
    raise AssertionError("experiments end by cli.run, which ends the process")


def _run_up_to_the_work(main):
    del main
    sys.exit(cli.call(lambda argv: 0, command_line.parse(sys.argv)))


if __name__ == "__main__":
    app.define_help_flags()
    cli.run = _run_up_to_the_work
    json.dump([_begin(module, arguments) for module, *arguments in json.load(sys.stdin)], sys.stdout)
