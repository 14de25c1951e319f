"""What is timed of PyTorch: a training step and a forward pass of a network, and single convolutions."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.benchmarks.measuring.inputs import convolution_inputs, network_inputs, read_weights
from experiments.benchmarks.measuring.torch_mednext import MedNeXt
from experiments.benchmarks.measuring.torch_peer import DenseUNet3D, copy_weights, torch_kernel
from experiments.benchmarks.measuring.torch_unet import UNet

FAMILIES: dict[str, Any] = {"dense_unet": DenseUNet3D, "mednext": MedNeXt, "unet": UNet}
LAYOUTS = {"channels_last": torch.channels_last_3d, "ncdhw": torch.contiguous_format}


def _map(array_BDHWC: np.ndarray, layout: str, device: str) -> Tensor:
    tensor = torch.from_numpy(array_BDHWC).permute(0, 4, 1, 2, 3)
    return tensor.to(device).contiguous(memory_format=LAYOUTS[layout])


def _array(tensor: Tensor) -> np.ndarray:
    """(B, C, D, H, W) -> (B, D, H, W, C)."""
    return np.ascontiguousarray(_host(tensor.permute(0, 2, 3, 4, 1)))


def _host(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _prepare(device: str) -> str:
    """The device's name; all cores, and of a GPU the fastest convolutions, as JAX chooses them."""
    if device == "present":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        # JAX computes products of float32 as TF32, too.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        torch.cuda.reset_peak_memory_stats()
    _use_all_cores()
    return device


def _use_all_cores() -> None:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(count or 1)


class Versions:
    """Nothing is computed: only PyTorch's versions are asked for."""

    def run(self) -> None:
        """Nothing."""

    def outputs(self) -> dict[str, np.ndarray]:
        """`cudnn`, 0 without it."""
        return {"cudnn": np.asarray(torch.backends.cudnn.version() or 0)}


class Network:
    """The network on one patch: training step, or forward pass.

    Args:
        config: a resolved config as plain values.
        weights: folder that `jax_tasks.write_weights` wrote to.
        layout: key of `LAYOUTS`.
        kind: `step` (forward, backward, SGD update), `forward` (batch statistics) or `inference`.
        device: `cpu`, `cuda`, or `present`: the GPU if there is one.
        compiled: by torch.compile, in its default mode; else eager.

    With `model.dtype` bfloat16 it runs under autocast: as in ours, parameters stay float32.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        weights: Path,
        layout: str,
        kind: str,
        device: str = "cpu",
        compiled: bool = False,
    ):
        device = _prepare(device)
        model, data = config["model"], config["data"]
        network: Any = FAMILIES[model["family"]](model)
        copy_weights(network, read_weights(weights / "peer.npz"))
        self._network = network.to(device, memory_format=LAYOUTS[layout]).train(kind != "inference")
        self._apply = torch.compile(self._network) if compiled else self._network
        half = model["dtype"] == "bfloat16"
        self._precision = functools.partial(torch.autocast, device, torch.bfloat16, enabled=half)
        patch = network_inputs(
            data["patch_size"], data["batch_size"], model["in_channels"], model["num_classes"]
        )
        self._image = _map(patch[0], layout, device)
        self._labels = torch.from_numpy(patch[1]).long().to(device)
        self._kind, self._device = kind, device
        self._class_weights = torch.tensor(config["loss"]["cross_entropy"]["class_weights"], device=device)
        self._ignore = config["task"]["ignore_label"]
        optimizer = config["optimizer"]
        self._optimizer = torch.optim.SGD(
            network.parameters(), optimizer["learning_rate"], optimizer["momentum"], fused=True
        )
        self._first: dict[str, np.ndarray] = {}

    def run(self) -> None:
        """One step or one forward pass."""
        if self._kind != "step":
            self._forward()
            _wait(self._device)
            return
        self._optimizer.zero_grad(set_to_none=True)
        with self._precision():
            logits = self._apply(self._image)
        loss = self._loss(logits)
        loss.backward()
        if not self._first:
            gradients = [p.grad for p in self._network.parameters() if p.grad is not None]
            norm = nn.utils.get_total_norm(gradients)
            self._first = {"loss": _host(loss), "grad_norm": _host(norm)}
        self._optimizer.step()
        _wait(self._device)

    def _forward(self) -> Tensor:
        with torch.inference_mode(), self._precision():
            return self._apply(self._image)

    def _loss(self, logits: Tensor) -> Tensor:
        total = functional.cross_entropy(
            logits.float(), self._labels, self._class_weights, reduction="sum", ignore_index=self._ignore
        )
        return total / (self._labels != self._ignore).sum()

    def outputs(self) -> dict[str, np.ndarray]:
        """Logits and loss; of a step loss and gradient norm of the first one; `device_peak_gib` of a GPU."""
        peak = {}
        if self._device != "cpu":
            peak = {"device_peak_gib": np.asarray(torch.cuda.max_memory_allocated() / 2**30)}
        if self._kind == "step":
            return {**self._first, **peak}
        logits = self._forward()
        return {"logits": _array(logits), "loss": _host(self._loss(logits)), **peak}


class Convolution:
    """One convolution, depthwise or full, forward or forward and backward.

    Args:
        shape_DHWC: of the input.
        features: channels of the output.
        depthwise: one kernel a channel.
        stride: along (D, H, W).
        backward: also the gradients by input and kernel.
        layout: key of `LAYOUTS`.
        device: `cpu`, `cuda`, or `present`: the GPU if there is one.
        dtype: of all tensors.
        repeats: passes in one call, which are started one after the other and waited for at the end.
        batch: maps at once.
        size: side of the kernel.
        transposed: the transposed convolution, of whose output the stride is; depthwise only.
    """

    def __init__(
        self,
        shape_DHWC: tuple[int, ...],
        features: int,
        depthwise: bool,
        stride: tuple[int, int, int],
        backward: bool,
        layout: str,
        device: str = "cpu",
        dtype: str = "float32",
        repeats: int = 1,
        batch: int = 1,
        size: int = 3,
        transposed: bool = False,
    ):
        device = _prepare(device)
        groups = features if depthwise else 1
        kernel_shape = (size, size, size, shape_DHWC[-1] // groups, features)
        x, kernel, gradient = convolution_inputs(
            shape_DHWC, kernel_shape, stride, features, batch, transposed
        )
        kind = getattr(torch, dtype)
        self._x = _map(x, layout, device).to(kind).requires_grad_(backward)
        self._kernel = torch.from_numpy(torch_kernel(kernel)).to(device, kind)
        self._kernel = self._kernel.contiguous(memory_format=LAYOUTS[layout]).requires_grad_(backward)
        self._gradient = _map(gradient, layout, device).to(kind)
        apply: Any = functional.conv_transpose3d if transposed else functional.conv3d
        self._apply = functools.partial(apply, stride=stride, padding=size // 2, groups=groups)
        self._backward = backward
        self._device, self._repeats = device, repeats

    def run(self) -> None:
        """One call: `repeats` passes."""
        for _ in range(self._repeats):
            self._compute()
        _wait(self._device)

    def _compute(self) -> list[Tensor]:
        with torch.set_grad_enabled(self._backward):
            y = self._apply(self._x, self._kernel)
        if not self._backward:
            return [y]
        return [y, *torch.autograd.grad(y, (self._x, self._kernel), self._gradient)]

    def outputs(self) -> dict[str, np.ndarray]:
        """`y`, and where backward `input_gradient` and `filter_gradient`."""
        y, *gradients = self._compute()
        result = {"y": _array(y)}
        if gradients:
            result["input_gradient"] = _array(gradients[0])
            result["filter_gradient"] = np.ascontiguousarray(_host(gradients[1].permute(2, 3, 4, 1, 0)))
        return result
