"""How every entry point starts: flags parsed, bad input reported in one clear message."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from absl import app

from dsdenseunet.errors import InputError

EXIT_BAD_INPUT = 2


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `main` under absl; an `InputError` becomes one message on stderr and exit status 2."""

    def guarded(argv: Sequence[str]) -> int | None:
        try:
            return main(argv)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_BAD_INPUT

    app.run(guarded)
