"""The largest patch and batch that fit a card, by asking the compiler what a training step needs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.configure.choice import Choice
from dsdenseunet.configure.recipes import Recipe
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import by, counted
from dsdenseunet.memory.cards import Card
from dsdenseunet.memory.planner.compiler import Compiler
from dsdenseunet.memory.planner.law import Setting
from dsdenseunet.memory.planner.plan import COMPILERS, GIB
from dsdenseunet.memory.planner.search import HEADROOM, Points, Row
from dsdenseunet.models import registry

# A batch holds no more than this share of all voxels of the data, nnU-Net's bound, and no more patches.
_SHARE_OF_DATA, _MOST_PATCHES = 0.05, 16
# How often the leading setting is compiled and found to be another.
_VERIFICATIONS = 4


@dataclasses.dataclass(frozen=True)
class Fit:
    """What fits, and what is known of it.

    Attributes:
        setting: patch, batch, micro-batches, remat and precision.
        choice: the same as a choice, with the compiler's figures in its sentences.
        facts: for the page and its JSON: `checked`, the card and its limit, `rows` of other settings.
    """

    setting: Setting
    choice: Choice
    facts: dict[str, Any]


def unchecked(recipe: Recipe, reason: str) -> Fit:
    """The recipe's usual patch, whatever it needs.

    Args:
        recipe: what is chosen from.
        reason: a sentence that says why the compiler was not asked.
    """
    patch = next((one for one in recipe.patches if math.prod(one) <= recipe.enough), recipe.patches[-1])
    setting = Setting(patch, recipe.batch, 1, "none", "float32")
    why = (
        f"{counted(recipe.batch, 'patch', 'patches')} of {by(patch)}, the recipe's usual size. "
        f"Whether they fit a card is NOT CHECKED: {reason}"
    )
    return Fit(setting, _choice(setting, why), {"checked": False, "reason": reason, "rows": []})


def fit(
    config: ConfigDict,
    recipe: Recipe,
    data_voxels: int,
    card: Card,
    budget_gib: float | None,
    compiler: Compiler,
    say: Callable[[str], None],
) -> Fit:
    """Asks the compiler for the patch and batch.

    The first patch that fits in full precision of the recipe, without computing anything twice, is taken if
    it is large enough for the recipe. Else the network computes again in the backward pass what it can, and
    in the end the batch is cut into micro-batches.

    Args:
        config: whose network is compiled.
        recipe: what is chosen from.
        data_voxels: of all cases.
        card: what must hold it.
        budget_gib: what may be used of the card; None: all of it.
        compiler: gives the figures.
        say: told of progress, a line each.

    Raises:
        InputError: not even the smallest patch fits.
    """
    budget = card.memory_bytes / GIB if budget_gib is None else budget_gib
    available = min(budget * GIB, card.memory_bytes) * card.usable_share
    network = registry.build(config.model)
    remats = list(network.remats)
    halved = recipe.halves and card.peak_flops["bfloat16"] > card.flops_per_s("float32")
    dtype = "bfloat16" if halved and "bfloat16" in network.dtypes else "float32"
    needs = _Needs(config, compiler, available, say)
    best = None
    for remat, parts in dict.fromkeys([(remats[0], 1), (remats[-1], 1), (remats[-1], recipe.batch)]):
        found = needs.first_that_fits(
            list(_settings(recipe, data_voxels, remat, parts, dtype)), recipe.enough
        )
        if found and (best is None or math.prod(found.setting.patch) > math.prod(best.setting.patch)):
            best = found
        if best and math.prod(best.setting.patch) >= min(recipe.enough, math.prod(recipe.patches[0])):
            break
    if not needs.points.known:
        return unchecked(recipe, f"the compiler failed: {next(iter(needs.points.failures.values()))}")
    rows = needs.rows(recipe, dtype)
    if best is None:
        least = min(rows, key=lambda row: row.memory["total"])
        raise InputError(
            "--budget_gib",
            found=f"{budget:g} GiB, of which {available / GIB:.3g} can be used; {_in_words(least)} need "
            f"{least.memory['total'] * (1 + HEADROOM) / GIB:.3g} GiB, a tenth of them to spare",
            expected="room for the smallest patch of the network that suits these data",
            fix="raise --budget_gib, or name a card with more memory (--device)",
        )
    source = COMPILERS[compiler.card is not None]
    why = (
        f"Needs {best.memory['total'] / GIB:.2f} GiB by {source}. The {card.device_kind} is to give "
        f"{min(budget, card.memory_bytes / GIB):g} GiB, {available / GIB:.2f} of them to JAX, and a tenth of "
        f"the need stays free. {_how_chosen(best, recipe)}"
    )
    facts = {
        "checked": True,
        "is_estimate": compiler.card is None,
        "source": source,
        "card": card.device_kind,
        "device": card.name,
        "budget_gib": round(budget, 3),
        "available_gib": round(available / GIB, 3),
        "headroom": HEADROOM,
        "rows": [row.as_json() for row in rows],
        "chosen": best.as_json(),
    }
    return Fit(best.setting, _choice(best.setting, why), facts)


class _Needs:
    """What settings need: of a few by the compiler, of the others by the law through these.

    Args:
        config: whose network is compiled.
        compiler: gives the figures.
        available: bytes that the allocator has.
        say: told of what failed.
    """

    def __init__(self, config: ConfigDict, compiler: Compiler, available: float, say: Callable[[str], None]):
        self.points, self._available = Points(config, compiler, say), available

    def first_that_fits(self, settings: Sequence[Setting], enough: int) -> Row | None:
        """The first of the settings that fits, compiled itself; None where none does or nothing compiles.

        Args:
            settings: of one remat and precision, the most useful first.
            enough: the first program has at most so many voxels.
        """
        first = next((one for one in settings if math.prod(one.patch) <= enough), settings[-1])
        if not self.points.compile(dataclasses.replace(first, batch=1, accumulate=1)):
            return None
        for _ in range(_VERIFICATIONS):
            rows = (self.row(one) for one in settings if one not in self.points.failures)
            leader = next((row for row in rows if row.fits), None)
            if leader is None or leader.status == "compiled":
                return leader
            self.points.compile(leader.setting)
        compiled = (self.row(one) for one in settings if one in self.points.known)
        return next((row for row in compiled if row.fits), None)

    def rows(self, recipe: Recipe, dtype: str) -> list[Row]:
        """Every patch with the recipe's batch, and what was compiled."""
        remats = dict.fromkeys(setting.remat for setting in self.points.known)
        all_of_them = [
            Setting(patch, recipe.batch, 1, remat, dtype) for remat in remats for patch in recipe.patches
        ]
        settings = dict.fromkeys([*all_of_them, *self.points.known])
        return [self.row(one) for one in settings if one not in self.points.failures]

    def row(self, setting: Setting) -> Row:
        """Of a setting whose remat and precision were compiled with some patch."""
        law = self.points.law(setting.remat, setting.dtype)
        assert law is not None
        return self.points.row(setting, law, self._available, HEADROOM)


def _settings(recipe: Recipe, data_voxels: int, remat: str, parts: int, dtype: str) -> Iterator[Setting]:
    """What is tried, the most useful first."""
    for patch in recipe.patches:
        most = recipe.batch
        if recipe.grows and patch == recipe.patches[0]:
            share = int(_SHARE_OF_DATA * data_voxels / math.prod(patch))
            most = max(most, min(share, _MOST_PATCHES))
        for batch in range(most, recipe.batch - 1, -1):
            if batch % parts == 0:
                yield Setting(patch, batch, parts, remat, dtype)


def _how_chosen(best: Row, recipe: Recipe) -> str:
    setting = best.setting
    if len(recipe.patches) == 1:
        return "The patch follows from the size of the images alone."
    if setting.patch == recipe.patches[0]:
        sentence = "It is the largest patch that these data have a use for."
    else:
        larger = recipe.patches[recipe.patches.index(setting.patch) - 1]
        sentence = f"It is the largest that fits; the next larger one is {by(larger)}."
    if setting.accumulate > 1:
        sentence += f" The batch runs as {setting.accumulate} micro-batches, one after the other."
    if setting.remat != "none":
        sentence += f" To fit, the backward pass computes again what remat {setting.remat} says."
    if setting.dtype == "bfloat16":
        sentence += (
            " Activations are bfloat16, with which the card is faster; weights and logits stay float32."
        )
    return sentence


def _in_words(row: Row) -> str:
    setting = row.setting
    return f"{counted(setting.batch, 'patch', 'patches')} of {by(setting.patch)} ({setting.dtype})"


def _choice(setting: Setting, why: str) -> Choice:
    settings: dict[str, Any] = {"data.patch_size": setting.patch, "data.batch_size": setting.batch}
    if setting.accumulate > 1:
        settings["training.accumulate"] = setting.accumulate
    return Choice("patch and batch", settings, why)
