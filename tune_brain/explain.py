"""Explain a prediction: one forward pass yields an image's logits, embedding and Grad-CAM heat map."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from tune_brain.array_types import Bytes, Float32s
from tune_brain.portable.networks import CPU, INFERENCE, place, predict, view

SMALLEST_MAP = 6
"""Smallest side of a feature map that still localises; for small images the last layers fall below it."""


class Trace(NamedTuple):
    """Intermediate results of one image's forward pass."""

    logits: Tensor
    """float32 [1, C], bit for bit those of `predict` with a batch of one."""
    embedding: Float32s
    """[D], the input of the last linear layer."""
    features: Tensor | None
    """[1, K, H, W], output of the network's `cam_layer`; None without one."""


def trace(model: nn.Module, layer: nn.Module | None, pixels: Bytes) -> Trace:
    """Run one image uint8 [1, 1, S, S] through a network.

    Not thread-safe: it registers hooks on the network.

    Args:
        model: a network whose parameters do not require gradients.
        layer: the network's `cam_layer`.
        pixels: the image.
    """
    place(model, CPU, INFERENCE)
    model.eval()
    captured: dict[str, Tensor] = {}

    def make_leaf(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        # Track gradients from this layer on only, which is all that Grad-CAM needs.
        captured["features"] = output.detach().requires_grad_()
        return captured["features"]

    handle = layer.register_forward_hook(make_leaf) if layer is not None else None
    try:
        with _embeddings(model) as batches:
            logits = model(view(pixels).float() / 255)
    finally:
        if handle is not None:
            handle.remove()
    return Trace(logits, batches[0][0].numpy(), captured.get("features"))


def grad_cam(trace: Trace, target: int) -> Float32s | None:
    """Grad-CAM heat map [H, W] in 0..1 of what speaks for class `target`; None without a feature map.

    Selvaraju et al. (ICCV 2017), equations 1 and 2, divided by the maximum. Libraries for it need a second
    forward pass, and matplotlib or OpenCV; the tests compare this one with captum's.
    """
    if trace.features is None:
        return None
    gradient = torch.autograd.grad(trace.logits[0, target], trace.features, retain_graph=True)[0]
    weighted = gradient.mean((2, 3), keepdim=True) * trace.features.detach()
    positive = relu(weighted.sum(1))[0]
    heat: Float32s = (positive / positive.max().clamp_min(1e-12)).numpy()
    return heat


def cam_layer(model: nn.Module, image_size: int) -> nn.Module | None:
    """The last layer whose feature map has a side of at least `SMALLEST_MAP`; None if there is none."""
    model.eval()
    chosen: nn.Module | None = None
    with torch.inference_mode():
        x = model.get_submodule("input")(torch.zeros(1, 1, image_size, image_size))
        for layer in model.get_submodule("net").children():
            if isinstance(layer, nn.Flatten | nn.AdaptiveAvgPool2d | nn.Linear):
                break
            x = layer(x)
            if min(x.shape[2:]) < SMALLEST_MAP:
                break
            # The layer after one of these works in place and would overwrite the captured output.
            if not isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.BatchNorm2d):
                chosen = layer
    return chosen


def embeddings(model: nn.Module, pixels: Bytes) -> NDArray[np.float16]:
    """Embeddings [N, D] of images uint8 [N, 1, S, S]: the inputs of the last linear layer, with length 1."""
    with _embeddings(model) as batches:
        predict(model, pixels, CPU, INFERENCE)
    # Only directions are compared, and the inputs themselves may exceed what a float16 can hold.
    return normalize(torch.cat(batches)).numpy().astype(np.float16)


def width(model: nn.Module) -> int:
    """D, the length of a network's embeddings."""
    return _last(model).in_features


def _last(model: nn.Module) -> nn.Linear:
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


@contextmanager
def _embeddings(model: nn.Module) -> Iterator[list[Tensor]]:
    """A list that gets the embeddings [B, D] of each batch that the model is given in the block."""
    batches: list[Tensor] = []

    def capture(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        batches.append(inputs[0].detach())

    handle = _last(model).register_forward_pre_hook(capture)
    try:
        yield batches
    finally:
        handle.remove()
