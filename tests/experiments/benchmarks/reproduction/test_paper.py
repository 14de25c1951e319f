"""The paper's typed numbers, held to the sums and means that the paper prints with them."""

import pytest

from experiments.benchmarks.reproduction import paper

VARIANTS = ("ds", "standard")


@pytest.mark.parametrize("variant", VARIANTS)
def test_epochs_of_table_2_have_the_printed_averages(variant):
    for cases, seconds in paper.TABLE_2[variant].items():
        assert len(seconds) == 10
        assert sum(seconds) / 10 == pytest.approx(paper.TABLE_2_AVERAGES[variant][cases], abs=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_averages_of_table_2_have_the_printed_average(variant):
    averages = paper.TABLE_2_AVERAGES[variant].values()
    assert sum(averages) / len(averages) == pytest.approx(paper.TABLE_2_TOTALS[variant])


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_of_table_3_sum_to_the_printed_total(variant):
    column = paper.TABLE_3[variant]
    assert column["trainable"] + column["non_trainable"] == column["total"]
    assert column["non_trainable"] % 2 == 0


def test_methods_of_table_1():
    """The text repeats the last row, and says which methods it leads (section 4.4)."""
    *others, last = paper.TABLE_1
    assert last["liver"] == {"case": 96.2, "global": 96.7}
    assert last["tumour"] == {"case": 69.6, "global": 80.7}
    assert all(other["liver"]["case"] < last["liver"]["case"] for other in others)
    assert [o["method"] for o in others if o["tumour"]["case"] > last["tumour"]["case"]] == ["H-DenseUNet"]
