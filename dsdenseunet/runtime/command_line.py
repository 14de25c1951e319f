"""The arguments of a command: each is understood or refused, and none is ignored silently."""

from __future__ import annotations

import math
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from dsdenseunet.core.errors import InputError

EXIT_BAD_COMMAND_LINE = 2
_HELP = {"-h": "--help", **{word: word for word in ("-?", "-help", "--help", "--helpshort", "--helpfull")}}
_TRUTHS = ("true", "false", "yes", "no", "on", "off", "0", "1")
# What word processors and web pages make of two hyphens.
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
# What absl says of a flag that is required and was not given.
_WITHOUT_VALUE = re.compile(r"Flag (--\w+) must have a value other than None")
# Keeps a program that starts again (see `supervision`) from repeating its notes.
_SAID = "DSDENSEUNET_SAID"


class Word(flags.EnumFlag):
    """A flag that may also be given as a word by itself: `reproduce table3` for `reproduce --item=table3`."""


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the command line; `--help` prints and ends with status 0.

    If a flag is given twice with different values, a note on standard error says that the last one counts.

    Raises:
        SystemExit: with status 2 and a message: unknown flags, bad values, words that belong to no flag.
    """
    if asked := next((_HELP[word] for word in argv[1:] if word in _HELP), None):
        _name_required()
        _show_help(argv[0], asked)
    if "config" in flags.FLAGS:
        _check_config_file(argv)
    # Flags count wherever they stand, even after a word that is not a flag.
    flags.FLAGS.set_gnu_getopt(True)
    try:
        rest = flags.FLAGS(list(argv))
        word = next((flag for name in flags.FLAGS if isinstance(flag := flags.FLAGS[name], Word)), None)
        if word is not None and rest[1:] and not word.present:
            word.parse(rest.pop(1))
    except flags.Error as error:
        if refused := _input_error(error):
            print(f"error: {refused}", file=sys.stderr)
            sys.exit(EXIT_BAD_COMMAND_LINE)
        missing = _WITHOUT_VALUE.findall(str(error))
        if missing:
            _refuse(", ".join(f"no {name}" for name in dict.fromkeys(missing)), _example())
        _refuse(_short(str(error)))
    except Exception as error:  # a config file is a program, in which anything may go wrong
        _refuse(_fault_of_config(error, argv))
    if rest[1:]:
        hints = [hint for word in rest[1:] if (hint := _meaning(word, argv))]
        _refuse(f"words that belong to no flag: {' '.join(rest[1:])}", "; ".join(dict.fromkeys(hints)))
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if name == "config" and flags.FLAGS[name].present and not isinstance(value, ConfigDict):
            _refuse(f"--{name}: its get_config() returns a {type(value).__name__}, no ConfigDict")
        if isinstance(value, float) and not math.isfinite(value):
            _refuse(f"--{name}={value}: not a finite number")
    _tell_of_doubles(argv)
    return rest


def _input_error(error: BaseException | None) -> InputError | None:
    """What a config file refused, which ml_collections and absl wrap into errors of their own."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _name_required() -> None:
    """Lets the help say which flags must be given, which absl's own does not."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if any(_WITHOUT_VALUE.match(validator.message) for validator in flag.validators):
            flag.help = f"{flag.help} (required)"


def _example() -> str:
    """The first command of the program's own description."""
    lines = (sys.modules["__main__"].__doc__ or "").splitlines()
    return next((f"for example {line.strip()}" for line in lines if line.strip().startswith("python -m")), "")


def _show_help(program: str, word: str) -> NoReturn:
    # absl counts help as a failure.
    try:
        app.parse_flags_with_usage([program, word])
    except SystemExit:
        sys.stdout.flush()
    sys.exit(0)


def _check_config_file(argv: Sequence[str]) -> None:
    """Refuses a --config that is no file; ml_collections says so only where the config is used."""
    given = _occurrences("config", argv)
    flag = flags.FLAGS["config"]
    if len(set(given)) > 1:
        # Both would be run, the second on top of the first one's result.
        _refuse(f"more than one config: {' '.join(given)}", "give one")
    if given:
        value = given[-1].replace(" ", "=", 1).partition("=")[2]
    elif flag.value is None:
        return
    else:
        value = config_flags.get_config_filename(flag)
    path = Path(value.partition(":")[0])
    if not path.is_file():
        _refuse(
            f"--config={value}: {'a folder' if path.is_dir() else 'no such file'}",
            ""
            if path.is_absolute()
            else f"paths are relative to {Path.cwd()}; configs/ is in the repository's root",
        )


def _short(message: str) -> str:
    """The message of absl without the stack trace that ml_collections puts into it."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        lines = [lines[0], lines[-1]]
    return " ".join(lines)


def _fault_of_config(error: Exception, argv: Sequence[str]) -> str:
    """What is wrong with the config's file, or with a field that was set on the command line."""
    path = _occurrences("config", argv)[-1:] or [""]
    file = path[0].replace(" ", "=", 1).partition("=")[2].partition(":")[0]
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, SyntaxError):
        return f"--config={file}: line {error.lineno}: {error.msg}"
    if lines:
        return f"--config={file}: line {lines[-1]}: {type(error).__name__}: {error}"
    name = str(error.args[0] if error.args else error).strip('"').splitlines()[0]
    given = [argument for argument in argv[1:] if name.strip("'") in argument.split("=")[0]]
    return f"{' '.join(given)}: the config has no field {name}" if given else f"--config={file}: {name}"


def _occurrences(name: str, argv: Sequence[str]) -> list[str]:
    """Where a flag was given: `--name=value`, `--name value`, `--name`, `--noname`."""
    found = []
    for index, argument in enumerate(argv[1:], 1):
        if re.fullmatch(rf"--?(no)?{re.escape(name)}(=.*)?", argument, re.DOTALL):
            takes_next = "=" not in argument and not flags.FLAGS[name].boolean and index + 1 < len(argv)
            found.append(f"{argument} {argv[index + 1]}" if takes_next else argument)
    return found


def _meaning(word: str, argv: Sequence[str]) -> str:
    """What the user may have meant by this word."""
    before = argv[argv.index(word, 1) - 1] if word in argv[1:] else ""
    bare = word.lstrip(_DASHES)
    name = bare.partition("=")[0]
    if before == "=" or word == "=":
        return "write no spaces around ="
    if before.startswith("-") and "=" not in before and word.lower() in _TRUTHS:
        return f"perhaps {before}={word}: a switch takes its value behind a ="
    if name in flags.FLAGS or name.startswith("config."):
        return f"perhaps --{bare}"
    if not word.strip():
        return "perhaps a \\ at the end of a line is followed by a space"
    if Path(word).exists():
        return "a * of the shell gives many names and a flag takes one: name their folder instead"
    return ""


def _tell_of_doubles(argv: Sequence[str]) -> None:
    notes = []
    for name in flags.FLAGS:
        given = _occurrences(name, argv) if flags.FLAGS[name].present else []
        takes_several = isinstance(flags.FLAGS[name], flags.MultiFlag)
        if len(set(given)) > 1 and not takes_several:
            notes.append(f"note: --{name} is given {len(given)} times; the last one counts: {given[-1]}")
    text = "\n".join(notes)
    if text and os.environ.get(_SAID) != text:
        os.environ[_SAID] = text
        print(text, file=sys.stderr)


def _refuse(found: str, hint: str = "") -> NoReturn:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    command = f"python -m {spec.name if spec else sys.argv[0]}"
    fields = " and, for --config.FIELD=VALUE, fields of the config" if "config" in flags.FLAGS else ""
    where = f"see {command} --help" + (" and configs/base.py" if fields else "")
    print(
        f"error: command line\n  found:    {found}\n  expected: flags of {command}{fields}\n"
        f"  to do:    {f'{hint}; ' if hint else ''}{where}",
        file=sys.stderr,
    )
    sys.exit(EXIT_BAD_COMMAND_LINE)
