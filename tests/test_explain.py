"""One pass for logits, embedding and heat map: the same bits as prediction, the same map as captum's."""

import numpy as np
import pytest
import torch

from tune_brain.explain import embeddings, finest, grad_cam, see
from tune_brain.portable.networks import BUILDERS, CPU, INFERENCE, network, predict

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64), dtype=np.uint8)


def made(arch: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return network(arch, 4, 64).eval().requires_grad_(False)


@pytest.mark.parametrize("arch", BUILDERS)
def test_logits_have_the_bits_of_a_prediction(arch: str) -> None:
    model = made(arch)
    layer = finest(model, 64)
    together = predict(model, PIXELS, CPU, INFERENCE, batch=1)
    for index in range(len(PIXELS)):
        seen = see(model, layer, PIXELS[index : index + 1])
        assert torch.equal(seen.logits[0].detach(), together[index])
        assert (grad_cam(seen, 0) is None) == (arch == "linear")
    assert torch.equal(predict(model, PIXELS[1:2], CPU, INFERENCE), together[1:2]), "a hook was left behind"


@pytest.mark.parametrize("arch", ["cnn", "resnet18", "resnet34"])
@pytest.mark.parametrize("target", [0, 3])
def test_the_heat_map_is_that_of_captum(arch: str, target: int) -> None:
    from captum.attr import LayerGradCam

    model = made(arch)
    layer = finest(model, 64)
    ours = grad_cam(see(model, layer, PIXELS[:1]), target)
    images = torch.from_numpy(PIXELS[:1]).float().div(255).requires_grad_()
    theirs = LayerGradCam(model, layer).attribute(images, target=target, relu_attributions=True)[0, 0]
    assert ours == pytest.approx((theirs / theirs.max().clamp_min(1e-12)).detach().numpy(), abs=1e-5)


@pytest.mark.parametrize(("arch", "side"), [("cnn", 8), ("resnet18", 8), ("resnet34", 8)])
def test_the_map_is_the_last_that_says_where(arch: str, side: int) -> None:
    model = made(arch)
    seen = see(model, finest(model, 64), PIXELS[:1])
    assert seen.features is not None
    assert seen.features.shape[-1] == side


def test_an_embedding_is_what_the_last_layer_decides_by() -> None:
    model = made("cnn")
    found = torch.from_numpy(embeddings(model, PIXELS)).float()
    last = model.get_submodule("net")[-1]
    assert torch.allclose(last(found), predict(model, PIXELS, CPU, INFERENCE), atol=1e-2)
