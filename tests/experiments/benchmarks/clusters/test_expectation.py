"""The arithmetic of scaling, by hand, and the document that shows it."""

import json

import pytest

from configs.ds_dense_unet_569 import get_config
from dsdenseunet.memory.description import describe
from experiments.benchmarks.clusters import cluster_tables, expectation
from experiments.benchmarks.clusters.collectives import AllReduce, all_reduces
from tests.documents import ROOT

DOCUMENT = ROOT / "docs/how-to/scale.md"
FAST = expectation.Link("fast", 100.0, 1e-6, "")
SLOW = expectation.Link("slow", 10.0, 5e-6, "")


def test_ring_all_reduce_by_hand():
    # 4 members, 1 GB: 6 hops of 0.25 GB at 0.8 x 10 GB/s, and 6 times 1 ms.
    assert expectation.ring_all_reduce_s(4, 1e9, 10.0, 1e-3) == pytest.approx(6 * 0.25 / 8 + 6e-3)
    assert expectation.ring_all_reduce_s(1, 1e9, 10.0, 1e-3) == 0


def test_small_arrays_go_by_a_tree():
    # 8 members: 3 hops up and 3 down, the whole of the array in each; a ring has 14 hops.
    assert expectation.tree_all_reduce_s(8, 800, 10.0, 1e-6) == pytest.approx(6 * (1e-7 + 1e-6))
    assert expectation.all_reduce_s(8, 800, 10.0, 1e-6) == expectation.tree_all_reduce_s(8, 800, 10.0, 1e-6)
    assert expectation.all_reduce_s(8, 1e9, 10.0, 1e-6) == expectation.ring_all_reduce_s(8, 1e9, 10.0, 1e-6)
    assert expectation.all_reduce_s(1, 800, 10.0, 1e-6) == 0


def test_nodes_add_up_inside_first_and_then_between():
    cluster = expectation.Cluster(FAST, SLOW, adapters=2, gpus_per_node=8)
    inside = 14 / 8 * 1.0 / 80 + 14e-6
    assert cluster.all_reduce_s(8, 1e9) == pytest.approx(inside)
    # 4 nodes: 6 hops of a quarter, over two adapters of 8 GB/s each.
    assert cluster.all_reduce_s(32, 1e9) == pytest.approx(inside + 6 / 4 * 1.0 / 16 + 30e-6)
    assert cluster.all_reduce_s(1, 1e9) == 0
    with pytest.raises(ValueError, match="12 GPUs"):
        cluster.all_reduce_s(12, 1e9)


def test_expectation_hidden_and_exposed():
    work = expectation.Work(
        step_s=0.1, patches=2, gradient_bytes=10**9, statistics_count=10, statistics_bytes=0
    )
    one, eight = (expectation.expect(work, expectation.Cluster(FAST, SLOW), gpus) for gpus in (1, 8))
    assert one.efficiency == (1, 1)
    assert eight.patches == 16
    assert eight.statistics_s == pytest.approx(10 * 6e-6)
    gradient = 14 / 8 / 80 + 14e-6
    assert eight.exposed_s == pytest.approx(0.1 + gradient + 60e-6)
    assert eight.hidden_s == pytest.approx(0.1 + 60e-6), "shorter than the step: nothing of it shows"
    longer = expectation.expect(expectation.Work(0.001, 2, 10**9, 0, 0), expectation.Cluster(FAST, SLOW), 8)
    assert longer.hidden_s == pytest.approx(gradient), "longer than the step: the step waits for it"


def test_the_last_size_that_pays():
    cluster = expectation.Cluster(FAST, SLOW)
    assert expectation.last_that_pays(expectation.Work(100.0, 1, 10**8, 100, 0), cluster, most=64) == 64
    # Each small all-reduce alone takes longer than the step.
    assert expectation.last_that_pays(expectation.Work(1e-6, 1, 10**8, 100, 0), cluster) == 1


PROGRAM = """
HloModule jit_step

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
}

%body.1 (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  %all-reduce.3 = f32[8]{0} all-reduce(%x), channel_id=1, to_apply=%add
  ROOT %t = (s32[], f32[8]{0}) tuple(%i, %all-reduce.3)
}

%outer (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  %w = (s32[]) while(%arg), condition=%c, body=%body.1, backend_config={"known_trip_count":{"n":"3"}}
}

ENTRY %main (p: f32[4,2]) -> f32[] {
  %all-reduce-start.1 = (f32[4,2]{1,0}, bf16[3]{0}) all-reduce-start(%p, %q), to_apply=%add
  %done = (f32[4,2]{1,0}, bf16[3]{0}) all-reduce-done(%all-reduce-start.1)
  %w = (s32[], f32[8]{0}) while(%t), condition=%c, body=%outer, backend_config={"known_trip_count":{"n":"2"}}
}
"""


def test_all_reduces_of_a_program():
    assert all_reduces(PROGRAM) == [AllReduce(38, 1), AllReduce(32, 6)]
    with pytest.raises(ValueError, match="unknown length"):
        all_reduces(PROGRAM.replace('{"n":"3"}', "{}"))


def test_document_shows_what_is_computed():
    config = get_config("ds")
    network = describe(config.model, config.data.patch_size)
    folder = ROOT / "docs/results"
    counted = json.loads((folder / "collectives_gpu.json").read_text())
    steps = cluster_tables.scenarios(network, counted, cluster_tables.read_measured(folder))
    text = DOCUMENT.read_text(encoding="utf-8")
    lines = cluster_tables.markdown(network, counted, steps).splitlines()
    missing = [line for line in lines if line and line not in text]
    assert not missing, (
        "docs/how-to/scale.md: `python -m experiments.benchmarks.scaling` prints\n" + "\n".join(missing)
    )
    assert f"{4 * network.totals()['trainable']:,} bytes" in text
    for kind in ("all", "small"):
        assert f"{counted[kind]['count']:,} all-reduces" in text
        assert f"{counted[kind]['bytes'] / 1e6:,.1f} MB" in text


def test_a_measured_gpu_takes_the_place_of_what_was_assumed():
    config = get_config("ds")
    network = describe(config.model, config.data.patch_size)
    counted = {"small": {"count": 10, "bytes": 1000}}
    seconds = {"DS, ours": {"wall_s": {"median": 0.02}}, "DS, eager": {}}
    record = {
        "provenance": {"config": {"data": {"batch_size": 4}}},
        "results": [{"part": "step", "case": "DS, 12 x 224 x 224", "seconds": seconds}],
    }
    (step,) = cluster_tables.scenarios(network, counted, {"GPU": record})
    assert step.name == "GPU, measured: 20 ms a step of 4 patches"
    assert (step.work.step_s, step.work.patches) == (0.02, 4)
    assert step.work.gradient_bytes == 4 * 36_270_883
    assumed = cluster_tables.scenarios(network, counted, {"CPU": record})
    assert [step.name.split(",")[0] for step in assumed[:2]] == ["CPU", "H200's floor"]
