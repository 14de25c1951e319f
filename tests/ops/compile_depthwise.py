"""Compiles the kernels with the real XLA:GPU compiler for a card that is not here (test_depthwise_cuda.py).

python tests/ops/compile_depthwise.py MAJOR MINOR
"""

import contextlib
import sys

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from dsdenseunet.ops.depthwise import depthwise_conv

# Figures of an A100's kind; what the kernels are lowered to depends on the compute capability only.
TARGET = """
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048 core_count: 108
  shared_memory_per_block: 49152 shared_memory_per_core: 167936 shared_memory_per_block_optin: 166912
  fpus_per_core: 64 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 1555000000000 l2_cache_size: 41943040 clock_rate_ghz: 1.41
  device_memory_size: 42949672960 registers_per_core_limit: 65536 registers_per_block_limit: 65536
  cuda_compute_capability {{ major: {} minor: {} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 12 minor: 9 patch: 0 }}
device_description_str: "test"
"""
# Whole tiles, masked channels, and unaligned rows.
CASES = (((1, 3, 28, 28, 128), (1, 1, 1)), ((1, 3, 56, 56, 112), (1, 2, 2)), ((1, 3, 14, 14, 508), (1, 2, 2)))


def lowering_target(capability):
    """From JAX 0.11 on Triton's lowering asks the mesh, not the machine, what it lowers for."""
    if not hasattr(jax.sharding, "AbstractDevice"):
        return contextlib.nullcontext()
    kinds = {(8, 0): "NVIDIA A100", (9, 0): "NVIDIA H100"}
    device = jax.sharding.AbstractDevice(kinds[capability], None, "gpu")
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device))


def main(major, minor):
    (device,) = topologies.get_topology_desc(
        topology_name="t", platform="cuda", target_config=TARGET.format(major, minor), topology="1x1x1"
    ).devices
    sharding = SingleDeviceSharding(device)

    def both(x, kernel, gradient, stride):
        y, pull = jax.vjp(lambda x, kernel: depthwise_conv(x, kernel, stride, "pallas"), x, kernel)
        return y, *pull(gradient)

    for shape, stride in CASES:
        for dtype in (jnp.float32, jnp.bfloat16):
            result = (*(-(-n // s) for n, s in zip(shape, (1, *stride))), shape[-1])
            shapes = (shape, (3, 3, 3, 1, shape[-1]), result)
            arguments = [jax.ShapeDtypeStruct(one, dtype, sharding=sharding) for one in shapes]
            with lowering_target((major, minor)):
                lowered = jax.jit(both, static_argnums=3).lower(*arguments, stride)
            text = lowered.compile().as_text()
            assert text.count("custom_call_target") >= 3, text
            print(shape, stride, dtype.__name__, "compiled")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
