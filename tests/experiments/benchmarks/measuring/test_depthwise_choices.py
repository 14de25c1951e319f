import json

import pytest

from dsdenseunet.ops import depthwise_choice
from dsdenseunet.ops.depthwise_choice import Kind
from experiments.benchmarks.measuring.depthwise_choices import rows, source
from tests.documents import ROOT

PROVENANCE = {"hardware": {"backend": "gpu", "compute_capability": [9, 0]}}
RESULTS = sorted((ROOT / "docs/results").glob("benchmark_*.json"))


LARGE = "4 x (1 x 1 x 10), 40, fwd+bwd"


def seconds(**medians):
    return {name: {"wall_s": {"median": value}} for name, value in medians.items()}


def case(text, dtype="bfloat16", **medians):
    return {"part": "depthwise", "case": text, "dtype": dtype, "seconds": seconds(**medians)}


def test_rows_by_type_stride_and_size():
    results = [
        case("1 x 1 x 10, 10, fwd", ours=9.0, shifted=0.1),
        case("1 x 1 x 10, 40, fwd+bwd", shifted=2.0, pallas=1.0, eager=0.1),
        case("1 x 1 x 10, 10, fwd+bwd", shifted=1.0, pallas=2.0),
        case("1 x 1 x 10, 90, fwd+bwd", shifted=2.0, pallas=1.0),
        case("1 x 1 x 10, 10 by 2, fwd+bwd", ours=2.0, grouped=1.0),
        {"part": "step", "case": "1 x 1 x 10, 10, fwd+bwd", "seconds": seconds(ours=1.0)},
        {"part": "rates", "case": "memory"},
        {**case("4 x (1 x 1 x 10), 40, fwd+bwd, bfloat16", shifted=1.0, pallas=2.0), "convolution": LARGE},
    ]
    found = rows({"results": results, "provenance": PROVENANCE})
    # At 100 numbers `shifted`, at 400 and 900 `pallas`, at 1,600 `shifted`: 200 is between 100 and 400.
    assert found == {
        Kind("gpu", 9, "bfloat16", (1, 1, 1)): ((0, "shifted"), (200, "pallas"), (1200, "shifted")),
        Kind("gpu", 9, "bfloat16", (1, 2, 2)): ((0, "grouped"),),
    }
    table = eval(f"{{{source(found)}}}", {"Kind": Kind})
    assert table == found


def test_a_result_without_depthwise_convolutions_has_no_rows():
    assert rows({"results": [{"part": "rates", "case": "memory"}], "provenance": PROVENANCE}) == {}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_table_is_what_was_published(path):
    for kind, by_size in rows(json.loads(path.read_text(encoding="utf-8"))).items():
        assert depthwise_choice.FASTEST.get(kind) == by_size, (
            f"depthwise_choice.py should have\n{source({kind: by_size})}"
        )


def test_every_row_of_the_table_is_published():
    published = [rows(json.loads(path.read_text(encoding="utf-8"))) for path in RESULTS]
    assert set(depthwise_choice.FASTEST) == {kind for found in published for kind in found}
