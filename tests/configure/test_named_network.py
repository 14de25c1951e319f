"""The network and the training of a config that is named: every family, on data of one's own."""

import subprocess
import sys

import pytest

from configs import base, decathlon, ds_dense_unet_569, networks, table_one
from dsdenseunet.configure.configuring import configure, read
from dsdenseunet.core.errors import InputError
from dsdenseunet.models import registry
from dsdenseunet.training.settings import check_config, flatten
from tests.data.fingerprint import scans

NAMED = {
    "cicek_unet": lambda: networks.get_config("cicek_unet"),
    "dense_unet": lambda: ds_dense_unet_569.get_config("ds_literal"),
    "dense_unet_alone": lambda: table_one.get_config("dense_unet_167_authors"),
    "h_dense_unet": lambda: table_one.get_config("h_dense_unet_authors"),
    "kaluva": lambda: table_one.get_config("kaluva_authors"),
    "mednext": lambda: networks.get_config("mednext_s_k5_authors"),
    "ra_unet": lambda: table_one.get_config("ra_unet_authors"),
    "residual_unet": lambda: networks.get_config("residual_unet_m_authors"),
    "separable_unet": decathlon.get_config,
    "unet": lambda: networks.get_config("unet_authors"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two cases of MR with two classes that are not LiTS'."""
    return scans.write_boxes(tmp_path_factory.mktemp("data"), cases=2)


def written(data, out, network):
    silent = {"on_case": lambda *progress: None, "say": lambda line: None}
    memory = {"device": "rtx3070", "budget_gib": None, "compiled": False, "timeout_s": 60.0}
    found = configure(str(data), out=str(out), network=network, cache=None, workers=1, **memory, **silent)
    return found.text


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_every_family_is_written_for_other_data_than_its_own(family, data, tmp_path):
    named = NAMED[family]()
    text = written(data, tmp_path / "mine.py", named)
    config = read(text)
    check_config(config)
    assert config.model.family == family
    sizes = {"in_channels": 1, "num_classes": 3}
    assert config.model.to_dict() == named.model.to_dict() | sizes
    for section in ("optimizer", "augment", "training", "phases"):
        assert config[section] == named[section]
    assert tuple(config.data.mirror_probability) == tuple(named.data.mirror_probability)
    assert "mirrored along" not in text and "mirror image" not in text
    registry.check_patch(registry.build(config.model).stride, config.data.patch_size)
    assert config.data.batch_size == named.data.batch_size
    # Classes of other data have other weights, and no thresholds.
    assert set(config.loss.cross_entropy.class_weights) == {1.0} and not config.inference.thresholds
    own = {"task", "model", "data", "phases", "name", "inference", "loss"}
    base_fields, fields = (flatten(one.to_dict()) for one in (base.base_config(), config))
    changed = {name.split(".")[0] for name in fields if fields[name] != base_fields.get(name)}
    assert changed <= own | {"optimizer", "augment", "training"}


def test_what_is_written_is_as_ruff_leaves_it(data, tmp_path):
    (tmp_path / "mine.py").write_text(written(data, tmp_path / "mine.py", NAMED["h_dense_unet"]()))
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--line-length=110", str(tmp_path / "mine.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_config_that_does_not_fit_is_refused(data, tmp_path):
    named = NAMED["unet"]()
    named.optimizer.name = "lbfgs"
    with pytest.raises(InputError, match=r"config.optimizer.name"):
        written(data, tmp_path / "mine.py", named)
