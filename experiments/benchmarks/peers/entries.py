"""The configs of a comparison: loaded, checked, and of one task, before anything runs."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from dsdenseunet.core.errors import InputError
from dsdenseunet.tasks.task import Task
from dsdenseunet.training import stages
from experiments.benchmarks.peers.budget import SECONDS, Budget

_FLAG = "--configs"
# Those of a field's tuple belong to it.
_COMMA = re.compile(r",(?![^()]*\))")


class Entry(NamedTuple):
    """A config as one would type it.

    Attributes:
        name: for the tables: the words without the config's folder.
        words: for a command line: `--config=FILE` and `--config.FIELD=VALUE`.
        config: what they make, of one network or of a cascade.
    """

    name: str
    words: tuple[str, ...]
    config: ConfigDict

    @property
    def networks(self) -> dict[str, ConfigDict]:
        """The whole config of each network by its stage, which is "" where there are no stages."""
        return stages.configs(self.config)

    @property
    def chooses(self) -> bool:
        """Whether validations choose among weights."""
        return any(own.training.validate_epochs for own in self.networks.values())


def load(text: str) -> Entry:
    """A config by its file, after which fields may be set: `configs/x.py:variant loss.dice.weight=0`.

    Raises:
        InputError: no such file or field, or a config that does not fit together.
    """
    file, *fields = text.split() or [""]
    words = (f"--config={file}", *(f"--config.{field}" for field in fields))
    line, values = ["compare", *words], flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=line)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"the load_module\(\) method", DeprecationWarning)
            rest = values(line)
        config = values["config"].value
    except Exception as error:  # a config file is a program, in which anything may go wrong
        raise _refused(text, f"{type(error).__name__}: {error}") from error
    finally:
        sys.modules.pop("config_config", None)  # the file, as ml_collections names it
    if not isinstance(config, ConfigDict) or rest[1:]:
        raise _refused(text, "no ConfigDict" if not rest[1:] else f"words that set no field: {rest[1:]}")
    stages.check(config)
    return Entry(" ".join([file.rpartition("/")[2], *fields]), words, config)


def load_all(texts: str, budgets: Sequence[Budget], predict_s: float) -> list[Entry]:
    """All of them, which must be able to be compared.

    Args:
        texts: as `load` takes them, with commas between; `:variant` is of the same file as the one before.
        budgets: that each must be able to spend.
        predict_s: seconds of a budget of time that are kept for predicting.

    Raises:
        InputError: as `load`; two of one name; different tasks; a budget that one of them cannot spend.
    """
    entries, file = [], ""
    for text in filter(str.strip, _COMMA.split(texts)):
        text = text.strip()
        whole = file + text if text.startswith(":") else text
        file = whole.split()[0].partition(":")[0]
        entries.append(load(whole))
    if not entries:
        raise _refused("", "no config")
    for place, entry in enumerate(entries):
        if entry.name in [other.name for other in entries[:place]]:
            raise _refused(entry.name, "two configs of this name")
        _check_task(entries[0], entry)
    for budget in budgets:
        if budget.kind == SECONDS and budget.amount <= predict_s:
            raise InputError(
                f"--budget={budget.text}",
                found=f"{budget.amount:g} s, of which {predict_s:g} are kept for predicting (--predict_s)",
                expected="time to train",
                fix="a larger budget or a smaller --predict_s",
            )
        for entry in entries:
            if budget.kind != SECONDS:
                budget.epochs(entry.config, entry.name)
    return entries


def _check_task(first: Entry, other: Entry) -> None:
    """Refuses a config that does not segment the same in the same images; normalisation may differ."""
    one, two = Task.of(first.config.task), Task.of(other.config.task)
    for what, left, right in (
        ("classes", one.classes, two.classes),
        ("regions", one.regions, two.regions),
        ("ignore_label", one.ignore_label, two.ignore_label),
        ("channels", len(one.channels), len(two.channels)),
    ):
        if left != right:
            raise InputError(
                _FLAG,
                found=f"different tasks: {two.in_words()} of {other.name} has other {what} than "
                f"{one.in_words()} of {first.name}",
                expected="configs of one task",
                fix="compare those of each task by a command of their own",
            )


def _refused(text: str, found: str) -> InputError:
    return InputError(
        f"{_FLAG}={text}",
        found=found,
        expected="files of configs/ with commas between them, each at most once",
        fix="for example --configs=configs/demo.py,configs/ds_dense_unet_569.py:ds",
    )
