"""What a network looked at: one forward pass that also gives an image's embedding and its Grad-CAM."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import relu

from tune_brain.portable.networks import CPU, INFERENCE, place, predict, view

FINEST = 6
"""Smallest side of a map of features that says where; the last layers for small images have less."""


class Seen(NamedTuple):
    """One image after its way through a network."""

    logits: Tensor
    """float32 [1, C], the same bits as `predict` gives for a batch of one."""
    embedding: NDArray[np.float32]
    """[D], what the last layer decides by."""
    features: Tensor | None
    """[1, K, H, W], the last map of features fine enough to say where; None without convolutions."""


def see(model: nn.Module, layer: nn.Module | None, pixels: NDArray[np.uint8]) -> Seen:
    """One image uint8 [1, 1, S, S] through a network whose parameters want no gradient.

    Not for two threads at a time: the network is hooked into meanwhile.

    Args:
        model: the network.
        layer: what `finest` found in it.
        pixels: the image.
    """
    place(model, CPU, INFERENCE)
    model.eval()
    kept: dict[str, Tensor] = {}

    def leaf(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        # From here on, and no further back, a gradient can be had.
        kept["features"] = output.detach().requires_grad_()
        return kept["features"]

    handle = layer.register_forward_hook(leaf) if layer is not None else None
    try:
        with _embedding(model, kept):
            logits = model(view(pixels).float() / 255)
    finally:
        if handle is not None:
            handle.remove()
    return Seen(logits, kept["embedding"][0].detach().numpy(), kept.get("features"))


def grad_cam(seen: Seen, target: int) -> NDArray[np.float32] | None:
    """[H, W] in 0..1, where a network saw what speaks for a class; None without convolutions.

    Grad-CAM: Selvaraju et al. (ICCV 2017), equations 1 and 2, over the largest value. Libraries for it need a
    second pass through the network, and matplotlib or OpenCV; the tests hold this against captum's.
    """
    if seen.features is None:
        return None
    gradient = torch.autograd.grad(seen.logits[0, target], seen.features, retain_graph=True)[0]
    weighted = gradient.mean((2, 3), keepdim=True) * seen.features.detach()
    found = relu(weighted.sum(1))[0]
    heat: NDArray[np.float32] = (found / found.max().clamp_min(1e-12)).numpy()
    return heat


def finest(model: nn.Module, image_size: int) -> nn.Module | None:
    """The last layer with a map of features of `FINEST` a side or more; None where there is none."""
    model.eval()
    found: nn.Module | None = None
    with torch.inference_mode():
        x = model.get_submodule("input")(torch.zeros(1, 1, image_size, image_size))
        for layer in model.get_submodule("net").children():
            if isinstance(layer, nn.Flatten | nn.AdaptiveAvgPool2d | nn.Linear):
                break
            x = layer(x)
            if min(x.shape[2:]) < FINEST:
                break
            # What follows a convolution or pooling may write over its output.
            if not isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.BatchNorm2d):
                found = layer
    return found


def embeddings(model: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
    """[N, D] of images uint8 [N, 1, S, S]: what the last layer decides by."""
    found: list[Tensor] = []
    kept: dict[str, Tensor] = {}
    with _embedding(model, kept):
        for start in range(0, len(pixels), 128):
            predict(model, pixels[start : start + 128], CPU, INFERENCE)
            found.append(kept["embedding"].half())
    return torch.cat(found).numpy()


def width(model: nn.Module) -> int:
    """D, how many numbers the embedding of an image has."""
    return _last(model).in_features


def _last(model: nn.Module) -> nn.Linear:
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


@contextmanager
def _embedding(model: nn.Module, kept: dict[str, Tensor]) -> Iterator[None]:
    handle = _last(model).register_forward_pre_hook(lambda _module, inputs: kept.update(embedding=inputs[0]))
    try:
        yield
    finally:
        handle.remove()
