"""How every entry point starts: flags parsed, bad input reported in one clear message."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from dsdenseunet.errors import InputError

EXIT_BAD_INPUT = 2


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `main` under absl; bad flags or an `InputError` become one message and exit status 2."""

    def guarded(argv: Sequence[str]) -> int | None:
        # Libraries log every save and restore at INFO; --verbosity=0 shows them.
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.ERROR)
        try:
            return main(argv)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_BAD_INPUT

    app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; `--help` works as usual."""
    if any(argument.lstrip("-").startswith("help") for argument in argv[1:]):
        return app.parse_flags_with_usage(list(argv))
    try:
        rest = flags.FLAGS(list(argv))
    except flags.Error as error:
        _refuse(str(error))
    # What ml_collections raises for a field that the config has not, or cannot take this value.
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        name = str(error.args[0] if error.args else error).strip('"').splitlines()[0]
        given = [argument for argument in argv[1:] if name.strip("'") in argument.split("=")[0]]
        _refuse(f"{' '.join(given)}: the config has no field {name}" if given else name)
    if "config" in flags.FLAGS and flags.FLAGS["config"].present:
        # FILE or FILE:ARGUMENT.
        path = Path(config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")[0])
        if not path.is_file():
            _refuse(f"--config={path}: no such file")
    return rest


def _refuse(found: str) -> NoReturn:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name if spec else sys.argv[0]
    print(
        f"error: command line\n  found:    {found}\n"
        f"  expected: flags of python -m {module} and, for --config.FIELD=VALUE, fields of the config\n"
        f"  to do:    see python -m {module} --help and configs/base.py",
        file=sys.stderr,
    )
    sys.exit(EXIT_BAD_INPUT)
