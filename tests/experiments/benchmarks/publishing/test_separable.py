"""What separable convolutions are worth, from the comparisons that have them beside full ones."""

import pytest

from experiments.benchmarks.peers import standings
from experiments.benchmarks.publishing import separable
from tests.experiments.benchmarks.peers.test_standings import PROVENANCE, result


def record(config):
    """Of three contenders over eight cases; the second plays no part."""
    cases = "abcdefgh"
    costs = [
        (f"{config}:dense_unet_ds", 0.8, 0.5, 2**30),
        ("other", 0.0, 1.0, 2**30),
        (f"{config}:dense_unet_standard", 0.4, 2.0, 2**32),
    ]
    results = [
        {
            **result(name, **dict.fromkeys(cases, dice)),
            "step_s": step_s,
            "host_bytes": host_bytes,
        }
        for name, dice, step_s, host_bytes in costs
    ]
    networks = {
        name: {"parameters": parameters, "voxel_macs": 10.0}
        for (name, *_), parameters in zip(costs, (50, 1, 200), strict=True)
    }
    return standings.record("Task", results, networks, {}, PROVENANCE)


def rows(records):
    _, _, *lines = separable.markdown(records).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_pair_is_compared_by_itself_and_costs_are_shares():
    made = record("hippocampus.py")
    ((data, budget, seeds, network, *values),) = rows({"families": made})
    assert (data, budget, seeds, network) == ("Task", "60s", "1", "small 3D-DenseUNet")
    assert values[2].startswith("+0.300 ") and values[4:] == ["0.25", "1.00", "0.25", "0.25"]
    # Of 256 ways to exchange eight cases two are as far apart.
    assert float(values[3]) == pytest.approx(2 / 256, abs=5e-4)


def test_p_values_hold_for_all_rows_together():
    both = rows({"families": record("hippocampus.py"), "lits14": record("lits14.py")})
    assert [float(row[7]) for row in both] == pytest.approx([4 / 256] * 2, abs=5e-4)


def test_nothing_without_records():
    assert separable.markdown({}) == ""
