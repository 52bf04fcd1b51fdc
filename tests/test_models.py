import pytest
import torch
from torch import Tensor, nn
from torchvision.models import ResNet34_Weights, resnet18, resnet34

from tune_brain.config import ARCHITECTURES, Hyperparameters, Precision, TrialConfig
from tune_brain.errors import ConfigError
from tune_brain.models import build
from tune_brain.portable.networks import BUILDERS, GREY, IMAGENET, place
from tune_brain.train.fit import step
from tune_brain.train.optim import make_optimizer


def trial(arch: str, *, image_size: int = 16, classes: int = 3, seed: int = 0) -> TrialConfig:
    hyperparameters = Hyperparameters(max_lr=1e-3, weight_decay=1e-2, grad_clip=1.0)
    return TrialConfig(
        arch=arch,
        epochs=1,
        image_size=image_size,
        classes=classes,
        seed=seed,
        hyperparameters=hyperparameters,
    )


def images(n: int, side: int) -> Tensor:
    return torch.rand((n, 1, side, side), generator=torch.Generator().manual_seed(1))


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_every_architecture_has_a_builder_and_an_identifier_as_its_name() -> None:
    assert tuple(BUILDERS) == ARCHITECTURES
    # They are parts of the names of files and seed runs, which are split at hyphens.
    assert all(arch.isidentifier() for arch in ARCHITECTURES)


@pytest.mark.parametrize("arch", ARCHITECTURES)
class TestEveryArchitecture:
    @pytest.mark.parametrize(("image_size", "classes"), [(16, 2), (37, 5)])
    def test_maps_grey_images_to_a_logit_for_each_class(
        self, arch: str, image_size: int, classes: int
    ) -> None:
        model = build(trial(arch, image_size=image_size, classes=classes)).eval()
        batch = images(3, image_size)
        with torch.inference_mode():
            logits = model(batch)
            alone = model(batch[:1])
        assert logits.shape == (3, classes)
        assert logits.dtype == torch.float32
        torch.testing.assert_close(alone, logits[:1], rtol=1e-4, atol=1e-4)

    def test_the_seed_alone_decides_the_weights(self, arch: str) -> None:
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = build(trial(arch))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        assert same(first, build(trial(arch)))
        assert not same(first, build(trial(arch, seed=1)))

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_a_step_lowers_the_loss_of_its_batch(self, arch: str, precision: Precision) -> None:
        config = trial(arch, image_size=20)
        model = build(config).train()
        optimizer = make_optimizer(model, config.hyperparameters)
        batch, labels = images(6, 20), torch.arange(6) % 3
        taken = [step(model, optimizer, batch, labels, 1.0, precision) for _ in range(2)]
        before, after = (nn.functional.cross_entropy(each.logits, labels) for each in taken)
        assert after < before

    def test_a_step_is_the_same_in_any_memory_layout(self, arch: str) -> None:
        # torch's own fused AdamW is silently wrong if a gradient has another memory layout than its weight.
        config, parameters = trial(arch, image_size=48), []
        for channels_last in (False, True):
            model = build(config).train()
            if channels_last:
                # The layout of convolutions that train in bf16.
                place(model, torch.device("cpu"), "bf16")
            optimizer = make_optimizer(model, config.hyperparameters)
            step(model, optimizer, images(6, 48), torch.arange(6) % 3, 1.0, "fp32")
            parameters.append(torch.cat([value.detach().flatten() for value in model.parameters()]))
        # Rounding may flip the sign of a gradient near zero, and AdamW's first step is as long either way.
        different = (parameters[0] - parameters[1]).abs() > config.hyperparameters.max_lr / 10
        assert different.float().mean() < 0.01

    @pytest.mark.parametrize("image_size", [17, 48])
    def test_gradients_in_bf16_are_close_to_those_in_fp32(self, arch: str, image_size: int) -> None:
        config = trial(arch, image_size=image_size)
        gradients = []
        for precision in ("fp32", "bf16"):
            model = build(config).eval()
            place(model, torch.device("cpu"), precision)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
            step(model, optimizer, images(4, image_size), torch.arange(4) % 3, 1.0, precision)
            gradients.append({name: value.grad for name, value in model.named_parameters()})
        for name, exact in gradients[0].items():
            assert exact is not None
            error = torch.linalg.vector_norm(exact - gradients[1][name])
            assert error < 0.7 * torch.linalg.vector_norm(exact) + 1e-6, name


def test_an_unknown_architecture_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(ConfigError, match=f"{', '.join(ARCHITECTURES)}; found: vgg"):
        build(trial("vgg"))


def test_resnets_are_not_trained_in_bf16_at_sizes_where_gradients_are_wrong() -> None:
    config = trial("resnet18", image_size=16).model_copy(update={"precision": "bf16"})
    with pytest.raises(ConfigError, match="at least 17 pixels; found: 16 pixels"):
        build(config)


def randomise_batch_norm(model: nn.Module) -> None:
    """Give batch norm distinct statistics and scales, so that a wrong order or a missing layer shows."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                assert tensor is not None
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def test_resnet18_with_torchvisions_weights_predicts_as_torchvisions() -> None:
    torch.manual_seed(0)
    theirs = resnet18(num_classes=1000).eval()
    randomise_batch_norm(theirs)
    ours = BUILDERS["resnet18"](1000, 64).eval()
    ours.load_state_dict(theirs.state_dict())
    colour = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs(colour)
        torch.testing.assert_close(ours(colour), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_resnet34_starts_from_the_given_weights_except_for_its_head() -> None:
    torch.manual_seed(0)
    given = resnet34(num_classes=7).state_dict()
    model = build(trial("resnet34"), given)
    random = build(trial("resnet34"))
    for name, value in model.net.state_dict().items():  # type: ignore[union-attr, operator]
        if name.startswith("fc."):
            assert torch.equal(value, random.net.state_dict()[name])  # type: ignore[union-attr, operator]
        else:
            assert torch.equal(value, given[name]), name


def test_the_other_architectures_ignore_given_weights() -> None:
    given = resnet18(num_classes=3).state_dict()
    assert same(build(trial("resnet18"), given), build(trial("resnet18")))


def test_the_normalisation_is_that_of_the_pretrained_weights_and_never_changes_for_the_others() -> None:
    transforms = ResNet34_Weights.DEFAULT.transforms()
    assert (tuple(transforms.mean), tuple(transforms.std)) == IMAGENET
    # Changed constants would change what every exported model predicts.
    assert GREY == ((0.18,), (0.18,))


@pytest.mark.parametrize(("arch", "constants"), [("resnet18", GREY), ("resnet34", IMAGENET)])
def test_grey_becomes_three_normalised_channels(
    arch: str, constants: tuple[tuple[float, ...], tuple[float, ...]]
) -> None:
    batch = images(2, 16)
    channels = build(trial(arch)).input(batch)  # type: ignore[operator]
    assert channels.shape == (2, 3, 16, 16)
    for channel in range(3):
        mean, std = (values[channel % len(values)] for values in constants)
        torch.testing.assert_close(channels[:, channel], (batch[:, 0] - mean) / std)


@pytest.mark.parametrize("arch", ["linear", "cnn"])
def test_architectures_without_pretrained_weights_take_one_channel(arch: str) -> None:
    assert build(trial(arch)).input(images(2, 16)).shape == (2, 1, 16, 16)  # type: ignore[operator]


def test_the_cnn_does_not_grow_with_large_images() -> None:
    sizes = {
        side: sum(p.numel() for p in build(trial("cnn", image_size=side)).parameters()) for side in (112, 224)
    }
    assert sizes[224] == sizes[112] < 5e6
    with torch.inference_mode():
        assert build(trial("cnn", image_size=224))(images(1, 224)).shape == (1, 3)
