import dataclasses

import pytest

from dsdenseunet.preflight import versions
from dsdenseunet.preflight.versions import FAULT, WARNING, Installation

H100 = Installation(
    "NVIDIA H100", (9, 0), "570.86.15", 12080, 12080, 92800, "0.10.2", ("jax_cuda12_plugin",), 2**36
)
GTX1080 = dataclasses.replace(H100, card="NVIDIA GeForce GTX 1080", capability=(6, 1))


@pytest.mark.parametrize(
    ("installed", "changes", "dtype", "severities", "words"),
    [
        (H100, {}, "float32", [], ""),
        (H100, {}, "bfloat16", [], ""),
        (GTX1080, {}, "float32", [FAULT], "cuda12-pascal"),
        (GTX1080, {"cudnn": 91002}, "float32", [], ""),
        # bfloat16 maps are convolved in float32 there.
        (GTX1080, {"cudnn": 91002}, "bfloat16", [], ""),
        (GTX1080, {"cudnn": 91002, "cuda": 13000, "driver_cuda": 13000}, "float32", [FAULT], "cuda12-pascal"),
        (H100, {"cuda": 13000}, "float32", [FAULT], "update the driver"),
        (
            H100,
            {"plugins": ("jax_cuda12_plugin", "jax_cuda13_plugin")},
            "float32",
            [FAULT],
            "fresh environment",
        ),
        (H100, {"cudnn": 90800}, "bfloat16", [WARNING, WARNING], "163539"),
        (H100, {"cudnn": 91300}, "bfloat16", [WARNING], "166643"),
        (H100, {"cudnn": 91500}, "bfloat16", [], ""),
        (H100, {"cudnn": 90800}, "float32", [], ""),
        (H100, {"cudnn": 91002}, "float32", [WARNING], "167024"),
        (H100, {"cudnn": 91600}, "float32", [], ""),
    ],
)
def test_what_is_known_of_combinations(installed, changes, dtype, severities, words):
    found = versions.findings(dataclasses.replace(installed, **changes), dtype)
    assert [finding.severity for finding in found] == severities
    assert words in "\n".join(map(str, found))


def test_faults_come_first():
    both = dataclasses.replace(H100, cudnn=90800, cuda=13000)
    assert [finding.severity for finding in versions.findings(both, "bfloat16")] == [FAULT, WARNING, WARNING]


def test_versions_are_written_as_people_write_them():
    text = versions.table(dataclasses.replace(GTX1080, cudnn=91002))
    assert "cuDNN   9.10.2" in text
    assert "compute capability 6.1" in text
    assert "570.86.15, for CUDA up to 12.8" in text
