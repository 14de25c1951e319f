import json

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti
from dsdenseunet.inference.scans import find_scans
from experiments.benchmarks.measuring.folder_throughput import MODES, markdown, measure
from tests.documents import ROOT
from tests.inference.bright import BRIGHT

RESULT = ROOT / "docs/results/prediction_cpu.json"


@pytest.fixture
def scans(tmp_path):
    for number in range(3):
        image = np.random.default_rng(number).integers(-500, 500, (4, 6, 5)).astype(np.int16)
        nifti.write_new(tmp_path / f"volume-{number}.nii", image, (2.5, 0.7, 0.8), "LPS")
    return find_scans(tmp_path).used


def test_both_ways_take_turns(scans):
    said = []
    record = measure([BRIGHT], scans, 2, said.append)
    assert [line.split(", ")[1].split(":")[0] for line in said] == [*MODES, *reversed(MODES)]
    assert (record["scans"], record["devices"], record["rounds"]) == (3, 1, 2)
    for values in record["modes"].values():
        assert values["wall_s"]["low"] == pytest.approx(min(values["samples_wall_s"]))
        assert values["scans_per_hour"]["high"] == pytest.approx(3 * 3600 / values["wall_s"]["low"], rel=1e-3)
    pairs = zip(*(record["modes"][mode]["samples_wall_s"] for mode in MODES))
    ratios = sorted(serial / overlapped for overlapped, serial in pairs)
    assert record["ratio"]["low"] == pytest.approx(ratios[0], rel=1e-3)
    assert record["ratio"]["high"] == pytest.approx(ratios[-1], rel=1e-3)


def test_a_scan_that_fails_leaves_no_number(scans):
    scans[1].image.write_bytes(b"no scan")
    with pytest.raises(InputError, match=r"volume-1\.nii"):
        measure([BRIGHT], scans, 1, print)


def test_the_document_says_what_was_measured():
    record = json.loads(RESULT.read_text())
    text = (ROOT / "docs/how-to/predict.md").read_text(encoding="utf-8")
    missing = [line for line in markdown(record).splitlines() if line and line not in text]
    assert not missing, "docs/how-to/predict.md must hold\n" + "\n".join(missing)
    assert record["provenance"]["commit"][:10] in text
    assert f"load {record['load_at_start'][0]:.1f}" in text
