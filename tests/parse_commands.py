"""Parses commands as the entry points themselves would, without running what they do.

Reads a JSON list of [module, *arguments] from standard input, writes a JSON list with the message that each
one's user would see, null where the command is right. One process for all, as most of the time is spent on
importing the libraries.
"""

import contextlib
import io
import json
import runpy
import sys
import traceback

from absl import flags

from dsdenseunet import cli


def message_for(module, arguments):
    known = set(flags.FLAGS)
    sys.argv = [module, *arguments]
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(errors):
            runpy.run_module(f"experiments.{module}", run_name="__main__", alter_sys=True)
    except SystemExit as stopped:
        return errors.getvalue() if stopped.code else None
    except Exception:
        return traceback.format_exc()
    finally:
        flags.FLAGS.unparse_flags()
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
    return None


def parse_only(main):
    rest = cli._parse_flags(sys.argv)
    if rest[1:]:
        print(f"words that are no flags: {rest[1:]}")
        sys.exit(2)


if __name__ == "__main__":
    cli.run = parse_only
    commands = json.load(sys.stdin)
    json.dump([message_for(module, arguments) for module, *arguments in commands], sys.stdout)
