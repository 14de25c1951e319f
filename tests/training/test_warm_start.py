import jax
import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.training.state import variables_of
from dsdenseunet.training.warm_start import Start, warm_start
from tests.training.test_step import new_state


def other_variables() -> dict:
    return jax.tree.map(lambda leaf: np.asarray(leaf) + 1, variables_of(new_state()))


def test_whole_load(capsys: pytest.CaptureFixture[str]):
    state = warm_start(new_state(), Start("elsewhere", other_variables()))
    assert "8 of 8 arrays loaded, 0 missing, 0 mismatched, 0 unexpected" in capsys.readouterr().out
    jax.tree.map(np.testing.assert_array_equal, variables_of(state), other_variables())
    assert int(state.step) == 0


def test_missing_array_is_named_and_refused(capsys: pytest.CaptureFixture[str]):
    variables = other_variables()
    del variables["params"]["Conv_1"]["bias"]
    with pytest.raises(InputError, match=r"missing: params/Conv_1/bias"):
        warm_start(new_state(), Start("elsewhere", variables))
    assert "7 of 8 arrays loaded, 1 missing" in capsys.readouterr().out


def test_other_shape_is_named_with_both_shapes():
    variables = other_variables()
    variables["params"]["Conv_1"]["bias"] = np.zeros(2, np.float32)
    with pytest.raises(InputError, match=r"mismatched: params/Conv_1/bias \(float32\[2\] for float32\[3\]\)"):
        warm_start(new_state(), Start("elsewhere", variables))


def test_other_type_is_mismatched():
    variables = other_variables()
    variables["params"]["Conv_1"]["bias"] = np.zeros(3, np.float64)
    with pytest.raises(InputError, match="float64"):
        warm_start(new_state(), Start("elsewhere", variables))


def test_array_without_a_place_is_refused():
    variables = other_variables()
    variables["params"]["extra"] = np.zeros(1, np.float32)
    with pytest.raises(InputError, match="unexpected: params/extra"):
        warm_start(new_state(), Start("elsewhere", variables))


def test_many_names_are_shortened():
    with pytest.raises(InputError, match="and 3 more"):
        warm_start(new_state(), Start("elsewhere", {"params": {}, "batch_stats": {}}))


def test_parameters_that_the_network_adapts(capsys: pytest.CaptureFixture[str]):
    variables = other_variables()
    variables["params"]["Conv_1"]["bias"] = np.zeros(2, np.float32)

    def adapted(params: dict) -> dict:
        conv = {**params["Conv_1"], "bias": np.full(3, 7, np.float32)}
        return {**params, "Conv_1": conv}

    state = warm_start(new_state(), Start("elsewhere", variables), adapted=adapted)
    assert "8 of 8 arrays loaded" in (printed := capsys.readouterr().out)
    assert "1 brought to another shape" in printed
    np.testing.assert_array_equal(state.params["Conv_1"]["bias"], [7, 7, 7])
