import json

import pytest

from configs.base import base_config
from configs.ds_dense_unet_569 import get_config
from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.cards import card
from dsdenseunet.memory.description import describe
from dsdenseunet.memory.planner import plan as planner
from dsdenseunet.memory.planner.compiler import CompilationError, Compiler, has_gpu_compiler
from dsdenseunet.memory.planner.law import LAUNCH_S, Law, Setting
from dsdenseunet.memory.planner.planning import run
from dsdenseunet.memory.planner.search import Search, Space, macs_by_remat
from dsdenseunet.memory.planner.text import summary, table
from dsdenseunet.reporting.memory_plan import draw
from tests.memory.fake_compiler import MIB, FakeCompiler, figures
from tests.training import tiny

PATCH, GIB = (12, 224, 224), 2**30
VOXELS = 12 * 224 * 224


def test_law_through_two_points_meets_both_and_goes_on_straight():
    law = Law.through({VOXELS: figures(600), 3 * VOXELS: figures(1400)})
    memory = law.memory(Setting(PATCH, 5, 1, "none", "float32"), batch_bytes=10)
    assert memory["workspace"] == pytest.approx(200 * MIB, abs=2)
    assert memory["activations"] == pytest.approx(2000 * MIB, abs=2)
    assert memory["batches"] == 20
    assert memory["total"] == sum(size for name, size in memory.items() if name != "total")


def test_law_through_one_point_takes_all_to_grow():
    law = Law.through({VOXELS: figures(600)})
    for batch, parts, expected in ((1, 1, 600), (3, 1, 1800), (3, 3, 700)):
        memory = law.memory(Setting(PATCH, batch, parts, "none", "float32"), 0)
        assert memory["activations"] + memory["workspace"] == pytest.approx(expected * MIB, abs=2)


def test_seconds_are_computing_and_moving_and_launching():
    law = Law.through({VOXELS: figures(600, 2 * 10**9), 2 * VOXELS: figures(700, 3 * 10**9)})
    one = card("gtx1080")
    seconds = law.seconds(Setting(PATCH, 4, 2, "layer", "float32"), one, macs=10**11)
    computing = 2 * 10**11 * 4 / one.peak_flops["float32"]
    assert seconds == pytest.approx(computing + 2 * 3 * 10**9 / 320e9 + 2 * 1000 * LAUNCH_S)


def test_operations_of_a_step_are_three_forward_passes_and_what_is_repeated():
    macs = macs_by_remat(get_config("ds"), PATCH)
    # 353 GFLOP forward, as tests/memory/test_description.py holds against XLA's own count.
    assert macs["none"] == 3 * describe(get_config("ds").model, PATCH).totals()["macs"]
    # The forward pass of the dense blocks again, which is not all of it.
    assert macs["none"] < macs["layer"] < macs["none"] * 4 / 3


@pytest.fixture
def config():
    return tiny.get_config()


def space(gib, **more):
    values = {
        "patches": [(4, 32, 32)],
        "remats": ("none", "layer"),
        "dtypes": ("float32", "bfloat16"),
    }
    return Space(available=gib * GIB, headroom=0.1, batches=range(1, 17), **(values | more))


def search(config, gib, said, **more):
    compiler = FakeCompiler(card("rtx3070"), said.append)
    found = Search(config, compiler, card("rtx3070"), space(gib, **more), said.append)
    return found, found.run()


def test_the_recommended_row_is_compiled_itself_fits_with_headroom_and_few_are_compiled(config):
    said = []
    found, best = search(config, 4, said)
    assert best.status == "compiled" and best.fits
    assert best.memory["total"] * 1.1 <= 4 * GIB
    assert best.setting.dtype == "bfloat16" and best.setting.batch > 1
    assert len(found.points.known) + len(found.points.failures) <= found._space.most_compilations()
    rows = found.rows()
    rates = [row.voxels_per_s for row in rows]
    assert rates == sorted(rates, reverse=True)
    # A larger one of the same kind that would fit is not faster by much.
    for row in rows:
        if row.fits and row.setting.accumulate == 1:
            assert row.voxels_per_s * 0.98 <= best.voxels_per_s * 1.0001


def test_what_does_not_compile_is_a_row_that_says_so_and_the_rest_goes_on(config):
    said = []
    found, best = search(config, 4, said)
    (failed,) = [row for row in found.rows() if row.status.startswith("failed")]
    assert (failed.setting.remat, failed.setting.dtype) == ("layer", "bfloat16")
    assert "signal -11" in failed.status and not failed.fits
    assert found.rows()[-1] == failed and best is not None
    assert any(line.startswith("failed") for line in said)


def test_a_first_guess_that_does_not_fit_is_corrected(config):
    # By the law from one point 1.9 GiB holds 6 patches; the compiler says otherwise.
    found, best = search(config, 2.6, [], remats=("none",), dtypes=("float32",))
    assert len(found.points.known) > 1
    assert best.fits and best.status == "compiled"


def test_nothing_fits(config):
    _, best = search(config, 0.2, [])
    assert best is None


def test_a_batch_that_does_not_fit_at_once_is_offered_in_micro_batches(config):
    config.data.batch_size = 8
    found, _ = search(config, 2.6, [], remats=("none",), dtypes=("float32",))
    rows = [row for row in found.rows() if row.setting.accumulate > 1]
    assert [(row.setting.batch, row.fits) for row in rows] == [(8, True)]


def test_plan_from_flags_to_files(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("dsdenseunet.memory.planner.planning.Compiler", FakeCompiler)
    options = {"patches": [], "remats": ("none", "layer"), "dtypes": ("float32", "bfloat16")}
    options |= {
        "max_batch": 8,
        "timeout_s": 10,
        "calibration": None,
        "out": str(tmp_path / "out"),
        "compare": True,
    }
    plan = run(config, device="gtx1080", budget_gib=4, **options)
    assert json.loads((tmp_path / "out" / "plan.json").read_text()) == json.loads(json.dumps(plan))
    (kept,) = (tmp_path / "cache" / "dsdenseunet" / "plans").glob("*.json")
    assert files.read_json(kept)["config"] == "tiny"
    best = plan["recommended"]
    assert best["patch"] == [4, 32, 32] and best["fits"]
    assert plan["flags"].startswith("--config.data.patch_size='(4,32,32)' --config.data.batch_size=")
    printed = capsys.readouterr().out
    assert "at most" in printed and plan["flags"] in printed and "failed: train" in printed
    assert plan["inference"]["total"] == sum(plan["inference"]["held"].values()) + 107 * MIB
    assert f"{4 * 0.9:.2f} for JAX (XLA_PYTHON_CLIENT_MEM_FRACTION=0.9)" in summary(plan)
    assert table(plan).splitlines()[1].split()[0] == "4x32x32"
    draw(plan, tmp_path / "plan.png")
    assert (tmp_path / "plan.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("flag", "value"),
    [("patches", ["12x224"]), ("patches", ["5x32x32"]), ("remats", ["all"]), ("dtypes", ["float16"])],
)
def test_what_cannot_be_searched_is_refused(config, flag, value):
    options = {"patches": [], "remats": ["none"], "dtypes": ["float32"], "max_batch": 1, "timeout_s": 1}
    options |= {"calibration": None, "out": None, "budget_gib": None, "device": "rtx3070", "compare": False}
    options[flag] = value
    with pytest.raises(InputError):
        run(config, **options)


def test_patches_below_are_multiples_of_the_stride():
    assert planner.patches_below(PATCH, (4, 32, 32)) == [PATCH, (12, 160, 160), (12, 128, 128)] or (
        planner.patches_below(PATCH, (4, 32, 32)) == [PATCH, (12, 160, 160), (12, 96, 96)]
    )
    assert planner.patches_below((4, 32, 32), (4, 32, 32)) == [(4, 32, 32)]


CHILDREN = {
    "crash": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "refuse": "raise SystemExit('RESOURCE_EXHAUSTED: no')",
    "hang": "import time; time.sleep(60)",
    "answer": "import sys, json, os\n"
    "open(sys.argv[2], 'w').write(json.dumps({'flags': os.environ['XLA_FLAGS']}))",
}


@pytest.mark.parametrize(
    ("kind", "message"),
    [("crash", "killed by signal 11"), ("refuse", "RESOURCE_EXHAUSTED: no"), ("hang", "not done after 1 s")],
)
def test_a_compiler_that_fails_is_told_in_a_line(kind, message, tmp_path, monkeypatch):
    with pytest.raises(CompilationError, match=message) as error:
        child(kind, tmp_path, monkeypatch, 1 if kind == "hang" else 60).figures("train", base_config())
    assert "\n" not in str(error.value)


def test_what_was_compiled_is_remembered_until_it_would_differ(tmp_path, monkeypatch):
    compiler, config = child("answer", tmp_path, monkeypatch), base_config()
    assert "--xla_gpu_autotune_level=0" in compiler.figures("train", config)["flags"]
    assert compiler.figures("train", config) and compiler.compiled == 1
    # What a program does not depend on.
    config.data.cache, config.training.steps_per_epoch = "elsewhere", 3
    assert compiler.figures("train", config) and compiler.compiled == 1
    config.model.remat = "layer"
    compiler.figures("train", config)
    compiler.figures("inference", config)
    assert compiler.compiled == 3


def child(kind, tmp_path, monkeypatch, timeout_s=60):
    (tmp_path / f"stand_in_{kind}.py").write_text(CHILDREN[kind])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = []
    return Compiler(None, said.append, timeout_s, tmp_path / "kept", module=f"stand_in_{kind}")


@pytest.mark.parametrize(
    "name",
    [
        None,
        pytest.param("rtx3070", marks=pytest.mark.skipif(not has_gpu_compiler(), reason="no CUDA plugin")),
    ],
)
def test_real_programs(name, tmp_path):
    """One small network through the real child, for this processor and for a card that is not here."""
    config = tiny.get_config()
    config.model.block_layers, config.model.decoder_channels = (1, 2), (4, 4, 4)
    compiler = Compiler(card(name) if name else None, lambda line: None, 600, tmp_path)
    inference = compiler.figures("inference", config)
    assert inference["memory"]["temp"] > 0 and inference["kernels"] > 10
    around = compiler.figures("volume", config, volume=[100, 64, 64])["memory"]
    # The accumulator is reused, not copied: 4 slices of 64 x 64 voxels, 3 classes, 4 bytes.
    assert around["add"]["alias"] == 4 * 64 * 64 * 3 * 4
    deeper = compiler.figures("volume", config, volume=[1000, 64, 64])["memory"]
    assert deeper == around, "whatever the number of slices"
