"""Explanations: the logits are bit for bit those of prediction, and the heat map is captum's."""

import numpy as np
import pytest
import torch

from tune_brain.explain import cam_layer, embeddings, grad_cam, trace
from tune_brain.portable.networks import BUILDERS, CPU, INFERENCE, network, predict

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64), dtype=np.uint8)


def made(arch: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return network(arch, 4, 64).eval().requires_grad_(False)


@pytest.mark.parametrize("arch", BUILDERS)
def test_traced_logits_equal_predicted_ones_bit_for_bit(arch: str) -> None:
    model = made(arch)
    layer = cam_layer(model, 64)
    together = predict(model, PIXELS, CPU, INFERENCE, batch=1)
    for index in range(len(PIXELS)):
        traced = trace(model, layer, PIXELS[index : index + 1])
        assert torch.equal(traced.logits[0].detach(), together[index])
        assert (grad_cam(traced, 0) is None) == (arch == "linear")
    assert torch.equal(predict(model, PIXELS[1:2], CPU, INFERENCE), together[1:2]), "a hook was left behind"


@pytest.mark.parametrize("arch", ["cnn", "resnet18", "resnet34"])
@pytest.mark.parametrize("target", [0, 3])
def test_the_heat_map_equals_captums(arch: str, target: int) -> None:
    from captum.attr import LayerGradCam

    model = made(arch)
    layer = cam_layer(model, 64)
    ours = grad_cam(trace(model, layer, PIXELS[:1]), target)
    images = torch.from_numpy(PIXELS[:1]).float().div(255).requires_grad_()
    theirs = LayerGradCam(model, layer).attribute(images, target=target, relu_attributions=True)[0, 0]
    assert ours == pytest.approx((theirs / theirs.max().clamp_min(1e-12)).detach().numpy(), abs=1e-5)


@pytest.mark.parametrize(("arch", "side"), [("cnn", 8), ("resnet18", 8), ("resnet34", 8)])
def test_the_heat_map_comes_from_the_last_layer_that_localises(arch: str, side: int) -> None:
    model = made(arch)
    traced = trace(model, cam_layer(model, 64), PIXELS[:1])
    assert traced.features is not None
    assert traced.features.shape[-1] == side


def test_an_embedding_is_the_direction_of_the_last_layer_s_input_however_long_that_is() -> None:
    model = made("cnn")
    # Beyond what a float16 can hold.
    model.get_submodule("net")[-3].weight.data *= 1e9
    found = embeddings(model, PIXELS).astype(np.float32)
    for direction, image in zip(found, PIXELS, strict=True):
        exact = trace(model, None, image[None]).embedding
        assert direction == pytest.approx(exact / np.linalg.norm(exact), abs=1e-3)
