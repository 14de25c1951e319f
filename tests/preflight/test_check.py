import dataclasses

import numpy as np
import pytest

from configs.demo import get_config
from dsdenseunet.core.errors import InputError
from dsdenseunet.preflight import check, convolutions, versions
from dsdenseunet.preflight.definition import Convolution
from dsdenseunet.preflight.versions import Installation

H100 = Installation(
    "NVIDIA H100", (9, 0), "570.86.15", 12080, 12080, 92800, "0.10.2", ("jax_cuda12_plugin",), 2**36
)


@pytest.fixture
def tiny():
    config = get_config()
    config.model.update(
        block_layers=(1, 1), growth_rate=4, bottleneck=8, stem_channels=8, decoder_channels=(8, 8, 4)
    )
    config.data.patch_size = (4, 8, 8)
    return config


@pytest.fixture
def on_a_card(monkeypatch, tmp_path):
    """A CPU that says it is a card and computes what cuDNN would be given."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(versions, "on_cuda", lambda: True)
    monkeypatch.setattr(versions, "installation", lambda: H100)
    lowered = convolutions._lowered
    monkeypatch.setattr(convolutions, "_lowered", lambda _, *rest: lowered("cuda", *rest))


def test_every_convolution_of_a_training_step_is_found(tiny):
    full = [each for each in convolutions.of_training(tiny, "cuda") if each.lhs[0] == tiny.data.batch_size]
    # The stem and one convolution in each of three stages of the decoder: values, and gradients by the
    # kernel; by the input, too, but for the stem's.
    windows = [each.rhs for each in full]
    assert (7, 7, 7, 1, 8) in windows
    assert {(3, 3, 3, 8, 8), (3, 3, 3, 8, 4)} <= set(windows)
    assert len(full) == 11
    depthwise = convolutions.depthwise_of(tiny)
    assert {each.rhs for each in depthwise} == {(3, 3, 3, 1, 8), (3, 3, 3, 1, 6)}
    assert {each.stride for each in depthwise} == {(1, 1, 1), (1, 2, 2)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_sound_card_passes_and_is_asked_once(tiny, on_a_card, dtype):
    tiny.model.dtype = dtype
    said = []
    check.require(tiny, training=True, otherwise="", say=said.append)
    assert "all correct" in said[0]
    verdict = check.run(tiny, training=True)
    assert verdict.kept
    assert len(verdict.checked) > 10
    check.require(tiny, training=True, otherwise="", say=said.append)
    assert len(said) == 1, "nothing new to say at the second start"


def test_wrong_values_are_refused_and_not_kept(tiny, on_a_card, monkeypatch):
    sound = Convolution.run

    def wrong_at_the_end(self, lhs, rhs):
        return sound(self, lhs, rhs).at[-1, -1, -1, -1, -1].multiply(1.5).at[-1, -1, -1, -1, -1].add(0.5)

    monkeypatch.setattr(Convolution, "run", wrong_at_the_end)
    for _ in range(2):
        with pytest.raises(InputError, match="wrong values") as refused:
            check.require(tiny, training=False, otherwise="compute on the CPU", say=lambda line: None)
        assert "compute on the CPU" in refused.value.fix


def test_values_that_are_no_numbers_are_wrong(tiny, on_a_card, monkeypatch):
    sound = Convolution.run
    monkeypatch.setattr(Convolution, "run", lambda self, lhs, rhs: sound(self, lhs, rhs) * np.nan)
    verdict = check.run(tiny, training=False)
    assert verdict.wrong
    assert not verdict.passed


def test_a_wrong_depthwise_form_is_found(tiny, on_a_card, monkeypatch):
    sound = convolutions.depthwise_conv
    monkeypatch.setattr(convolutions, "depthwise_conv", lambda x, w, stride: 1.2 * sound(x, w, stride))
    wrong = check.run(tiny, training=False).wrong
    assert len(wrong) == 3 * len(convolutions.depthwise_of(tiny)), "values and both gradients"


def test_a_card_that_its_libraries_do_not_serve_is_refused_at_once(tiny, on_a_card, monkeypatch):
    old = dataclasses.replace(H100, card="NVIDIA GeForce GTX 1080", capability=(6, 1))
    monkeypatch.setattr(versions, "installation", lambda: old)
    with pytest.raises(InputError, match="cuda12-pascal"):
        check.require(tiny, training=True, otherwise="", say=lambda line: None)
