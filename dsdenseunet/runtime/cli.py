"""How every entry point starts and ends: flags parsed, outputs tried, one clear message for a failure."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError, of_system
from dsdenseunet.runtime import command_line, terminal

EXIT_BAD_INPUT = command_line.EXIT_BAD_COMMAND_LINE

# The flags defined here are the calling module's own, which --help lists.
flags.disclaim_key_flags()


class _Output(flags.Flag):
    """A path that the command will write to."""

    def __init__(self, name: str, default: str | None, help_string: str, check: Callable[..., None]):
        parser: Any = flags.ArgumentParser()
        super().__init__(parser, flags.ArgumentSerializer(), name, default, help_string)
        self.check = check


def output_folder(
    name: str, default: str | None, help: str, *, required: bool = False
) -> flags.FlagHolder[Any]:
    """Defines a flag for a folder to write to, which `run` tries before the work begins."""
    return flags.DEFINE_flag(_Output(name, default, help, files.check_folder), required=required)


def output_file(
    name: str, default: str | None, help: str, *, required: bool = False
) -> flags.FlagHolder[Any]:
    """Defines a flag for a file to write, which `run` tries before the work begins."""
    return flags.DEFINE_flag(_Output(name, default, help, files.check_file), required=required)


def word(name: str, default: str, values: Sequence[str], help: str) -> flags.FlagHolder[Any]:
    """Defines a flag of a few values that may also be given as a word by itself."""
    return flags.DEFINE_flag(command_line.Word(name, default, help, list(values)))


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `main` under absl and ends the process with its status.

    Bad flags, outputs that cannot be written, an `InputError` and whatever the system refuses become one
    message and exit status 2; Ctrl-C one line and status 130.
    """
    terminal.make_streams_robust()
    terminal.interrupts_raise()
    app.run(lambda argv: call(main, argv), flags_parser=command_line.parse)


def call(main: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int | None:
    """The exit status of `main`, whose flags are parsed; see `run`."""
    # Libraries log every save and restore at INFO; --verbosity=0 shows them.
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)
    try:
        _try_outputs()
        status = main(argv)
        sys.stdout.flush()
        return status
    except InputError as error:
        return _say(error)
    except OSError as error:
        return _say(of_system(error))
    except (RuntimeError, AssertionError) as error:
        # Where JAX, which this module does without, looks for devices.
        if not traceback.extract_tb(error.__traceback__)[-1].filename.endswith("xla_bridge.py"):
            raise
        where = f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        found = str(error) or "no device of that kind"
        fix = "JAX_PLATFORMS=cpu, or install JAX for this accelerator and check that its driver works"
        return _say(InputError(where, found=found, expected="a device that JAX can use here", fix=fix))
    except MemoryError as error:
        found = f"exhausted: {error}" if str(error) else "exhausted"
        fix = "end other programs, use a larger machine, or ask for less at once"
        return _say(InputError("memory", found=found, expected="enough of it", fix=fix))
    except KeyboardInterrupt:
        terminal.end_interrupted()


def _try_outputs() -> None:
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if isinstance(flag, _Output) and flag.value is not None:
            flag.check(flag.value, f"--{name}={flag.value}")


def _say(error: InputError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return EXIT_BAD_INPUT
