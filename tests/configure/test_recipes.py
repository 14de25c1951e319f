import itertools
import math

import pytest

from configs import decathlon, networks
from configs.base import base_config
from dsdenseunet.configure import choices, config_file, fitting
from dsdenseunet.configure.configuring import read
from dsdenseunet.configure.recipes import recipe_for
from dsdenseunet.models import registry
from dsdenseunet.training.settings import check_config, flatten
from tests.configure.fingerprints import CT, a_fingerprint, a_task


def written(found):
    """The config of a fingerprint, with the patch that is taken where nothing is compiled."""
    recipe = recipe_for(found)
    fit = fitting.unchecked(recipe, "not asked.")
    chosen = [recipe.network, fit.choice, choices.sampling(found, fit.setting.patch), *recipe.training]
    config = read(config_file.text("Toy.", [], "toy", found.task, chosen))
    check_config(config)
    registry.check_patch(registry.build(config.model).stride, config.data.patch_size)
    return config


def differences(config, other):
    """Fields of one that the other has otherwise, or not at all."""
    first, second = (flatten(one.to_dict()) for one in (config, other))
    return {
        name
        for name in first.keys() | second.keys()
        if first.get(name) != second.get(name) and not name.startswith(("task.", "name"))
    }


def test_small_crops_get_the_recipe_that_was_measured_on_the_hippocampus():
    config = written(a_fingerprint((36, 50, 35)))
    assert differences(config, decathlon.get_config()) == set()


def test_volumes_get_nnunet_s_recipe_a_quarter_as_long():
    config = written(a_fingerprint((256, 256, 256), task=a_task(channels=(CT,))))
    assert differences(config, networks.get_config("unet_authors")) == {
        "phases.train.epochs",
        "training.validate_epochs",
        # Mirrored patches are averaged by a flag of predict.
        "inference.mirror_axes",
    }


def test_thick_slices_get_the_paper_s_network():
    config = written(a_fingerprint((60, 512, 512), (5.0, 0.7, 0.7)))
    assert differences(config, base_config()) == {
        "loss.cross_entropy.class_weights",
        "loss.dice.weight",
        "data.centre_share",
    }
    assert config.data.centre_share == (0.5, 0.25, 0.25)
    # Thick along another axis: no network here halves that one less often.
    assert written(a_fingerprint((512, 512, 60), (0.7, 0.7, 5.0))).model.family == "unet"


@pytest.mark.parametrize(
    ("shape", "stages", "stride"),
    [((300, 300, 300), 6, 32), ((100, 300, 300), 5, 16), ((64, 80, 80), 5, 16), ((20, 200, 200), 3, 4)],
)
def test_stages_are_as_many_as_the_smallest_side_has_halvings(shape, stages, stride):
    recipe = recipe_for(a_fingerprint(shape))
    model = recipe.network.settings["model"]
    assert len(model["widths"]) == stages
    assert registry.build(model).stride == (stride,) * 3
    for patch in recipe.patches:
        assert all(side % stride == 0 for side in patch)
        assert min(patch) // stride >= 1
    assert recipe.patches[-1] == (stride,) * 3


def test_patches_shrink_along_their_longest_side_in_mm():
    patches = recipe_for(a_fingerprint((64, 128, 128), (2.0, 1.0, 1.0))).patches
    assert patches[0] == (64, 128, 128)
    voxels = [math.prod(patch) for patch in patches]
    assert all(smaller < larger for larger, smaller in itertools.pairwise(voxels))
    for patch in patches:
        sides_mm = (2 * patch[0], patch[1], patch[2])
        assert max(sides_mm) - min(sides_mm) <= 2 * 16 * 2


def test_patches_of_small_and_odd_images():
    assert recipe_for(a_fingerprint((9, 30, 17))).patches == ((8, 16, 16),)
    (patch, *_) = recipe_for(a_fingerprint((3, 200, 200), (8.0, 1.0, 1.0))).patches
    assert patch == (4, 192, 192)
    (patch, *_) = recipe_for(a_fingerprint((3, 200, 200))).patches
    assert all(side % 2 == 0 for side in patch)
