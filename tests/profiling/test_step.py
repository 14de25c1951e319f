import json

import pytest

from dsdenseunet.core import files
from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.planner.hlo import REST
from dsdenseunet.profiling import step
from dsdenseunet.profiling.floor import Speed


@pytest.mark.usefixtures("tiny_network")
def test_a_profile_of_the_smallest_network(config, tmp_path, monkeypatch):
    monkeypatch.setattr(step.floor, "measured", lambda dtype: Speed(1e9, 1e9))
    said = []
    found = step.profile(config, tmp_path, steps=2, say=said.append)
    traced = found.trace
    assert traced.steps == 2
    assert 0 < traced.busy_s <= traced.wall_s
    stages = {(one.stage, one.backward) for one in found.operations}
    # Its modules, as Flax names them.
    assert {("Conv_0", False), ("BatchNorm_0", False), ("Conv_1", False), (REST, False)} <= stages
    assert any(backward for _, backward in stages)
    assert all(runs % 2 == 0 for runs in traced.runs.values())
    moved = sum(one.bytes for one in found.operations) / 2
    assert found.floors_ms[0] == pytest.approx(1e3 * moved / 1e9)
    text = found.text(top=3)
    assert "mean of 2" in text
    longest = max(found.operations, key=lambda one: one.seconds)
    assert f": {longest.name} " in text
    files.write_json(tmp_path / "profile.json", found.as_json())
    assert json.loads((tmp_path / "profile.json").read_text())["trace"]["steps"] == 2
    assert list(tmp_path.rglob("*.xplane.pb"))


def test_a_cache_that_is_not_there(config, tmp_path):
    config.data.cache = str(tmp_path / "absent")
    with pytest.raises(InputError, match="absent"):
        step.profile(config, tmp_path / "out", steps=1)
    assert not (tmp_path / "out").exists()
