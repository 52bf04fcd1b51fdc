"""Convolutions computed as products give what torch's convolutions give."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tune_brain.config import Hyperparameters, TrialConfig
from tune_brain.models import build, state_of
from tune_brain.train.convolution import LIMIT, SmallConv2d, dense, product, speed_up


def network() -> nn.Module:
    hp = Hyperparameters(max_lr=1e-3, weight_decay=1e-2, grad_clip=1.0)
    return build(TrialConfig(arch="resnet34", epochs=1, image_size=32, classes=4, seed=0, hyperparameters=hp))


def gradients(output: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
    return torch.autograd.grad((output * weights).sum(), inputs)


sides, few = st.integers(1, 5), st.integers(1, 2)
strides = st.sampled_from([1, 2])


@given(
    st.tuples(sides, sides, strides).map(lambda it: (product, *it))
    | st.tuples(few, few).map(lambda it: (lambda images, weight, _: dense(images, weight), *it, 1)),
    st.integers(1, 4),
    st.integers(1, 3),
    st.booleans(),
)
@settings(deadline=None)
def test_both_products_equal_the_convolution_and_its_gradients(
    way: tuple[Callable[[Tensor, Tensor, int], Tensor], int, int, int],
    channels: int,
    kernels: int,
    last: bool,
) -> None:
    multiply, height, width, stride = way
    layout = torch.channels_last if last else torch.contiguous_format
    chance = torch.Generator().manual_seed(height)
    images = torch.randn((2, channels, height, width), generator=chance).contiguous(memory_format=layout)
    weight = torch.randn((kernels, channels, 3, 3), generator=chance).contiguous(memory_format=layout)
    images.requires_grad_()
    weight.requires_grad_()
    ours, torchs = multiply(images, weight, stride), nn.functional.conv2d(images, weight, None, stride, 1)
    torch.testing.assert_close(ours, torchs)
    for mine, theirs in zip(gradients(ours, images, weight), gradients(torchs, images, weight), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("side", [1, 2, 3])
def test_autocast_accepts_either_type_and_the_output_may_be_modified_in_place(
    side: int, kind: torch.dtype
) -> None:
    layer = SmallConv2d(4, 5, 3, padding=1, bias=False)
    images = torch.rand((2, 4, side, side), dtype=kind, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        made = nn.ReLU(inplace=True)(layer(images))
    made.float().sum().backward()
    assert made.dtype == torch.bfloat16
    assert [one.grad.dtype for one in (images, layer.weight) if one.grad is not None] == [kind, torch.float32]


def test_every_3x3_convolution_of_a_resnet_is_replaced_and_shares_its_weights() -> None:
    model, untouched = network(), network()
    parameters = [id(one) for one in model.parameters()]
    speed_up(model)
    assert sum(isinstance(one, SmallConv2d) for one in model.modules()) == 32
    assert not any(type(one) is nn.Conv2d and one.kernel_size == (3, 3) for one in model.modules())
    assert [id(one) for one in model.parameters()] == parameters
    assert list(state_of(model)) == list(state_of(untouched))


@pytest.mark.parametrize(("training", "convolves"), [(True, False), (False, True)])
def test_only_training_replaces_the_convolution(
    monkeypatch: pytest.MonkeyPatch, training: bool, convolves: bool
) -> None:
    layer = SmallConv2d(2, 3, 3, padding=1, bias=False).train(training)
    convolved: list[bool] = []
    monkeypatch.setattr(nn.Conv2d, "forward", lambda *_: convolved.append(True))
    layer(torch.zeros(1, 2, 2, 2))
    assert bool(convolved) is convolves


def test_images_above_the_limit_are_convolved(monkeypatch: pytest.MonkeyPatch) -> None:
    convolved: list[bool] = []
    monkeypatch.setattr(nn.Conv2d, "forward", lambda *_: convolved.append(True))
    SmallConv2d(2, 3, 3, padding=1, bias=False)(torch.zeros(1, 2, 1, LIMIT + 1))
    assert convolved


def test_convolutions_of_another_kind_are_not_replaced() -> None:
    others = [
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.Conv2d(4, 4, 1, padding=1, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, stride=(1, 2), bias=False),
        nn.Conv2d(4, 4, 3, padding=1, dilation=2, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular", bias=False),
    ]
    model = nn.Sequential(*others)
    speed_up(model)
    assert list(model) == others


@pytest.mark.parametrize("side", [2, 3])
def test_gradients_have_the_memory_layout_of_the_weights(side: int) -> None:
    # A gradient with another layout would be copied in each step (`optim.make_optimizer`).
    layer = SmallConv2d(4, 5, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.rand(2, 4, side, side).bfloat16()).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.stride() == layer.weight.stride() == (36, 1, 12, 4)
