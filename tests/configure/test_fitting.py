import math

import pytest

from dsdenseunet.configure import config_file, fitting
from dsdenseunet.configure.configuring import read
from dsdenseunet.configure.recipes import recipe_for
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.cards import card
from dsdenseunet.memory.planner.compiler import CompilationError
from tests.configure.fingerprints import a_fingerprint

GIB = 2**30


class Figures:
    """A compiler that answers with a law: bytes a voxel at once, halved by remat and by bfloat16."""

    def __init__(self, bytes_a_voxel, card=None, refuses=()):
        self.bytes_a_voxel, self.card, self.refuses = bytes_a_voxel, card, refuses
        self.asked = []

    def figures(self, program, config):
        patch, batch = tuple(config.data.patch_size), config.data.batch_size
        at_once = batch // config.training.accumulate
        self.asked.append((patch, batch, config.training.accumulate, config.model.remat, config.model.dtype))
        if "all" in self.refuses or patch in self.refuses:
            raise CompilationError("the process failed")
        share = (0.5 if config.model.remat != "none" else 1) * (
            0.5 if config.model.dtype == "bfloat16" else 1
        )
        return {
            "memory": {"temp": int(self.bytes_a_voxel * share * at_once * math.prod(patch))},
            "bytes_accessed": 10**9,
            "kernels": 1000,
            "parts": {"parameters": 0, "statistics": 0, "optimiser": 0, "batch": 0},
        }


def fitted(found, compiler, budget_gib=None, device="rtx3070"):
    recipe = recipe_for(found)
    text = config_file.text("Toy.", [], "toy", found.task, [recipe.network, *recipe.training])
    voxels = sum(math.prod(case.shape) for case in found.cases)
    return fitting.fit(read(text), recipe, voxels, card(device), budget_gib, compiler, lambda line: None)


CUBES = a_fingerprint((160, 160, 160))


def test_the_largest_patch_that_fits_is_compiled_itself():
    # 8 GiB, of which 7.2, a tenth of the need to spare: 6.5 GiB for two patches of bfloat16 and what waits.
    compiler = Figures(2000)
    fit = fitted(CUBES, compiler)
    assert fit.setting.dtype == "bfloat16"
    assert fit.setting.remat == "none"
    assert fit.choice.settings == {"data.patch_size": fit.setting.patch, "data.batch_size": 2}
    assert (*compiler.asked[-1][:2], "none") == (fit.setting.patch, 2, "none")
    need = {tuple(row["patch"]): row["memory"]["total"] for row in fit.facts["rows"] if row["batch"] == 2}
    assert fit.facts["chosen"]["status"] == "compiled"
    assert fit.facts["chosen"]["memory"]["total"] * 1.1 <= 7.2 * GIB
    assert (
        min(size for size in need.values() if size > fit.facts["chosen"]["memory"]["total"]) * 1.1 > 7.2 * GIB
    )
    assert fit.facts["is_estimate"]
    assert "ESTIMATE" in fit.choice.why
    assert "the largest that fits" in fit.choice.why


def test_a_card_without_fast_bfloat16_keeps_float32():
    assert fitted(CUBES, Figures(100, card("gtx1080")), device="gtx1080").setting.dtype == "float32"


def test_room_beside_the_largest_patch_is_for_more_of_them_up_to_a_share_of_the_data():
    fit = fitted(CUBES, Figures(10))
    assert fit.setting.patch == (160, 160, 160)
    # A twentieth of six cases is less than one patch: nnU-Net's two.
    assert fit.setting.batch == 2
    many = a_fingerprint((160, 160, 160), names=[f"toy_{n}" for n in range(80)])
    assert fitted(many, Figures(10)).setting.batch == 4
    assert fitted(many, Figures(900)).setting.batch == 3


def test_memory_is_saved_by_arithmetic_only_where_the_patch_would_be_small():
    compiler = Figures(8000)
    fit = fitted(CUBES, compiler)
    assert fit.setting.remat == "stage"
    assert "computes again" in fit.choice.why
    tight = fitted(CUBES, Figures(8000), budget_gib=0.12)
    assert tight.setting.patch == (32, 32, 32)
    assert tight.choice.settings["training.accumulate"] == 2


def test_a_program_that_does_not_compile_gives_way_to_the_next():
    fit = fitted(CUBES, Figures(2000, refuses=[fitted(CUBES, Figures(2000)).setting.patch]))
    assert fit.facts["checked"]
    assert fit.facts["chosen"]["status"] == "compiled"
    failed = fitted(CUBES, Figures(1, refuses=["all"]))
    assert not failed.facts["checked"]
    assert "NOT CHECKED: the compiler failed: the process failed" in failed.choice.why


def test_a_budget_for_no_patch_is_one_message():
    with pytest.raises(InputError) as error:
        fitted(CUBES, Figures(10**7), budget_gib=0.5)
    assert error.value.where == "--budget_gib"
    assert "0.5 GiB, of which 0.45 can be used" in error.value.found
    assert "of 16 x 16 x 16" in error.value.found or "of 32 x 32 x 32" in error.value.found
