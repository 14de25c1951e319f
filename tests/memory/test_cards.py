import os
import re
import subprocess
import sys

import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.memory.cards import card, card_of_kind, cards
from dsdenseunet.memory.planner.compiler import gpu_compiler_environment, has_gpu_compiler

SIZES_GIB = {8, 11, 12, 16, 24, 40, 80}


def test_common_sizes_are_there():
    sizes = {round(one.memory_bytes / 2**30) for one in cards().values()}
    assert sizes > SIZES_GIB
    assert card("h200").memory_bytes == 141_000_000_000


@pytest.mark.parametrize("name", cards())
def test_figures_and_target_agree(name):
    one, text = card(name), card(name).target()
    fields = dict(re.findall(r"(\w+): (\S+)", text))
    assert int(fields["device_memory_size"]) == one.memory_bytes
    assert int(fields["memory_bandwidth"]) == one.bandwidth_bytes_per_s
    assert f'"{one.device_kind}"' in text
    assert one.source.startswith("NVIDIA")
    assert 0.5 < one.usable_share < 1
    # Two operations a clock; sheets round.
    cores = int(fields["core_count"]) * int(fields["fpus_per_core"])
    assert 2 * cores * float(fields["clock_rate_ghz"]) * 1e9 == pytest.approx(
        one.peak_flops["float32"], rel=0.04
    )
    assert one.flops_per_s("bfloat16") >= one.peak_flops["float32"]
    has_tf32 = int(re.search(r"cuda_compute_capability {\s+major: (\d)", text)[1]) >= 8
    assert ("tf32" in one.peak_flops) == has_tf32
    assert one.flops_per_s("float32") == one.peak_flops["tf32" if has_tf32 else "float32"]


def test_an_unknown_card_is_refused():
    with pytest.raises(InputError, match="gtx1080, rtx2070"):
        card("rtx9090")
    assert card("NVIDIA H200") == card("h200")
    assert card_of_kind("NVIDIA Unheard Of") is None


@pytest.mark.skipif(not has_gpu_compiler(), reason="without JAX's CUDA plugin (extras cuda12, cuda13)")
def test_the_compiler_takes_every_card():
    program = (
        "import jax\nfrom dsdenseunet.memory.cards import cards\n"
        "from jax.experimental import topologies\nfrom jax.sharding import SingleDeviceSharding\n"
        "for card in cards().values():\n"
        "    (device,) = topologies.get_topology_desc(topology_name='t', platform='cuda',\n"
        "        target_config=card.target(), topology='1x1x1').devices\n"
        "    assert device.device_kind == card.device_kind\n"
        "    x = jax.ShapeDtypeStruct((64, 64), 'float32', sharding=SingleDeviceSharding(device))\n"
        "    assert jax.jit(lambda x: jax.nn.relu(x @ x)).lower(x).compile().as_text()\n"
        "    print(card.name)\n"
    )
    environment = {**os.environ, **gpu_compiler_environment()}
    done = subprocess.run(
        [sys.executable, "-c", program],
        **{"env": environment, "text": True, "capture_output": True, "check": False, "timeout": 600},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == list(cards())
