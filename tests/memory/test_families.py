"""What describe and the planner ask a network, answered by every family at its narrowest."""

import jax
import pytest

from configs import decathlon, ds_dense_unet_569, networks, table_one
from dsdenseunet.memory.description import describe
from dsdenseunet.memory.planner.law import Setting
from dsdenseunet.memory.planner.plan import patches_below
from dsdenseunet.memory.planner.search import with_setting
from dsdenseunet.models import registry
from dsdenseunet.models.network import abstract_variables
from dsdenseunet.training.recipe import build_recipe
from dsdenseunet.training.settings import check_config
from dsdenseunet.training.state import abstract_state

_DENSE = {
    "block_layers": (1,),
    "growth_rate": 2,
    "bottleneck": 2,
    "stem_channels": 2,
    "decoder_channels": (2, 2),
}
# Of each family a config, and what makes it narrow.
NARROW = {
    "cicek_unet": (networks.get_config("cicek_unet"), {"widths": (2, 3)}),
    "dense_unet": (ds_dense_unet_569.get_config(), _DENSE),
    "dense_unet_alone": (table_one.get_config("dense_unet_65"), _DENSE),
    "h_dense_unet": (
        table_one.get_config("h_dense_unet"),
        {
            **{"slices_blocks": (1,), "slices_growth": 2, "slices_decoder": (2, 3)},
            **{"volume_blocks": (1,), "volume_growth": 2, "volume_decoder": (2, 3), "stem_channels": 2},
        },
    ),
    "kaluva": (
        table_one.get_config("kaluva"),
        {"poolings": 1, "layers": 1, "growth_rate": 2, "first_channels": 2},
    ),
    "mednext": (
        networks.get_config("mednext_s_k3"),
        {"width": 2, "blocks": (1, 1, 1), "expansion": (1, 1, 1)},
    ),
    "ra_unet": (table_one.get_config("ra_unet"), {"filters": 1, "levels": 1}),
    "residual_unet": (
        networks.get_config("residual_unet"),
        {"widths": (2, 3), "encoder_blocks": (1, 2), "decoder_convs": (1,)},
    ),
    "separable_unet": (
        decathlon.get_config(),
        {"widths": (2, 4), "encoder_blocks": (0, 1), "decoder_blocks": (1,)},
    ),
    "unet": (networks.get_config("unet"), {"widths": (2, 3), "encoder_convs": (1, 1), "decoder_convs": (1,)}),
}
PATCH = (4, 8, 8)


@pytest.fixture(params=registry.FAMILIES)
def config(request):
    named, fields = NARROW[request.param]
    config = named.copy_and_resolve_references()
    config.model.update(fields)
    config.data.patch_size = PATCH
    return config


def test_descriptions_count_every_parameter_and_what_recomputing_costs(config):
    described, network = describe(config.model, PATCH), registry.build(config.model)
    totals = described.totals()
    sizes = {
        kind: sum(leaf.size for leaf in jax.tree.leaves(tree))
        for kind, tree in abstract_variables(network).items()
    }
    assert totals["trainable"] == sizes["params"]
    assert totals["non_trainable"] == sizes.get("batch_stats", 0)
    assert described.stages[-1].shape == (*PATCH, config.model.num_classes)
    # As `search.macs_by_remat` adds it up: no more than the forward pass again.
    for remat, repeated in network.remats.items():
        again = sum(stage.macs for stage in described.stages if stage.name.startswith(repeated))
        assert 0 < again < totals["macs"] if remat != "none" else not again


def test_a_setting_that_the_planner_tries_is_a_step(config):
    network = registry.build(config.model)
    assert patches_below(PATCH, network.stride)[0] == PATCH
    remat, dtype = list(network.remats)[-1], network.dtypes[-1]
    one = with_setting(config, Setting(PATCH, 2, 2, remat, dtype))
    check_config(one)
    assert (one.model.get("remat", "none"), one.model.get("dtype", "float32")) == (remat, dtype)
    assert jax.tree.leaves(abstract_state(build_recipe(one)).opt_state)
