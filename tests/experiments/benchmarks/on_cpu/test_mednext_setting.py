import psutil
import pytest

from dsdenseunet.core.errors import InputError
from experiments.benchmarks.measuring import roofline
from experiments.benchmarks.measuring.worker import Worker
from experiments.benchmarks.on_cpu import cores, mednext_setting
from experiments.benchmarks.on_cpu.rates import beside_their_floors
from tests.documents import ROOT


class Affinity:
    """Which cores the process may use."""

    def run(self):
        pass

    def outputs(self):
        return dict.fromkeys(map(str, psutil.Process().cpu_affinity()))


def test_processes_begun_meanwhile_have_as_many_cores():
    before = cores.available()
    with cores.only(1), Worker("ours", {"PYTHONPATH": str(ROOT)}) as worker:
        worker.load(Affinity)
        assert list(worker.outputs()) == [str(before[0])]
    assert cores.available() == before


def test_flags_that_are_lists():
    assert mednext_setting.shapes("--shapes", ["2x32x64x96"]) == ((2, 32, 64, 96),)
    assert mednext_setting.numbers("--cores", ["1", "2"], range(1, 3)) == (1, 2)
    assert mednext_setting.in_words((2, 32, 64, 96), 2) == "2 x 32 x 64 x 96, 2 cores"
    for wrong in ([], ["1x64x64"], ["1x64x64x48"], ["0x64x64x64"], ["1xax64x64"]):
        with pytest.raises(InputError, match="multiples of 32"):
            mednext_setting.shapes("--shapes", wrong)
    for wrong in ([], ["3"], ["-1"], ["one"]):
        with pytest.raises(InputError, match="--cores"):
            mednext_setting.numbers("--cores", wrong, range(1, 3))


def test_floors_are_of_the_same_number_of_cores():
    def rate(of, count, per_s):
        return {"part": "rates", "cores": count, "rate_of": of, "per_s": {"median": per_s}}

    def step(count):
        counted = {"dtype": "float32", "operations": 8, "bytes": 8}
        return {"part": "step", "cores": count, "counted": counted, "took_s": 8.0}

    rates = [rate(of, count, 2.0 * count) for of in ("float32", "bytes") for count in (1, 2)]
    *_, one, two = beside_their_floors([*rates, step(1), step(2)])
    assert (one["roofline"]["floor_s"], two["roofline"]["floor_s"]) == (4.0, 2.0)
    assert roofline.beside(step(1), {}) == step(1)
