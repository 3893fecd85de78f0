"""Tables against published numbers, receptive fields against gradients, pictures against what they are made from."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import torch
import torchvision
from conftest import painting, photo
from torch import Tensor, nn

from styletx import backbones, inspection, losses
from styletx.backbones import classifiers
from styletx.errors import OptionError

# As their papers or torchvision's documentation state them.
PARAMETERS = {
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "efficientnet_b0": 5_288_548,
    "densenet121": 7_978_856,
    "convnext_tiny": 28_589_128,
}


def tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).permute(2, 0, 1)[None].float() / 255


# Tables


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name: str) -> None:
    table = inspection.table(name)
    assert table.parameters == PARAMETERS[name]
    assert sum(layer.parameters for layer in table.layers) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_multiply_adds_are_the_published_ones(name: str) -> None:
    published = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].meta["_ops"]
    table = inspection.table(name)
    assert table.macs / 1e9 == pytest.approx(published, abs=0.0006)
    assert sum(layer.macs for layer in table.layers) == table.macs


def test_vgg16_in_closed_form() -> None:
    table = inspection.table("vgg16")
    convolutions = {layer.name: layer for layer in table.layers if layer.name.startswith("relu")}
    inputs, side, sees, stride = 3, 224, 1, 1
    for block, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for index in range(1, count + 1):
            layer = convolutions[f"relu{block}_{index}"]
            sees += 2 * stride
            assert (layer.channels, layer.size, layer.stride) == (width, (side, side), stride)
            assert layer.receptive_field == sees
            assert layer.parameters == 9 * inputs * width + width
            assert layer.macs == 9 * inputs * width * side**2
            inputs = width
        sees, stride, side = sees + stride, 2 * stride, side // 2
        (pool,) = (layer for layer in table.layers if layer.name == f"pool{block}")
        assert (pool.receptive_field, pool.stride, pool.parameters) == (sees, stride, 0)
    classifier = {layer.name: layer.parameters for layer in table.layers if layer.name.startswith("fc")}
    assert classifier == {"fc6": 25088 * 4096 + 4096, "fc7": 4096**2 + 4096, "fc8": 4096 * 1000 + 1000}
    assert table.classifier_parameters == sum(classifier.values()) > 0.89 * table.parameters


@pytest.mark.parametrize(
    ("name", "layer", "sees", "stride"),
    [
        # Araujo, Norris & Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks".
        ("alexnet", "features.12", 195, 32),
        ("vgg16", "pool5", 212, 32),
        # He et al. 2016, whose 3×3 convolutions have the strides in torchvision.
        ("resnet18", "layer4.1", 435, 32),
        ("resnet50", "layer4.2", 427, 32),
        ("compact", "relu3_1", 24, 4),
    ],
)
def test_receptive_fields_are_the_published_ones(name: str, layer: str, sees: int, stride: int) -> None:
    (row,) = (row for row in inspection.table(name).layers if row.name == layer)
    assert (row.receptive_field, row.stride) == (sees, stride)


def support(module: nn.Module, layer: str, side: int) -> tuple[int, int]:
    """Side of the square of pixels on which one activation in the middle depends, by its gradient, and the square's.

    All weights are positive, so nothing cancels; the pools take means, whose windows are the same.
    """
    module = module.double().eval().requires_grad_(False)
    for one in module.modules():
        if isinstance(one, nn.Conv2d):
            one.weight.fill_(1 / one.weight[0].numel())
            if one.bias is not None:
                one.bias.zero_()
        elif isinstance(one, classifiers.Pool):
            one.pooling = "average"
    pixels = torch.full((1, 3, side, side), 2.0, dtype=torch.float64, requires_grad=True)
    features = module(pixels)[layer]
    features[0, :, features.shape[2] // 2, features.shape[3] // 2].sum().backward()
    assert pixels.grad is not None
    reached = pixels.grad[0].abs().sum(0) > 0
    down, across = (reached.any(axis).nonzero().flatten() for axis in (1, 0))
    return int(down[-1] - down[0]) + 1, int(across[-1] - across[0]) + 1


@pytest.mark.parametrize(
    ("name", "layer", "side"),
    [
        ("compact", "relu1_2", 16),
        ("compact", "relu3_1", 64),
        ("compact", "relu4_1", 128),
        ("vgg13_bn", "relu2_2", 48),
        ("alexnet", "features.5", 160),
        ("resnet18", "relu", 32),
        ("resnet18", "layer1.1", 96),
        ("resnet18", "layer2.0", 128),
        ("resnet18", "layer3.0", 256),
        ("resnet50", "layer2.1", 128),
        ("googlenet", "inception3b", 160),
        ("convnext_tiny", "features.1.1", 128),
    ],
)
def test_a_receptive_field_is_the_support_of_a_gradient(name: str, layer: str, side: int) -> None:
    (row,) = (row for row in inspection.table(name).layers if row.name == layer)
    assert row.receptive_field is not None and row.receptive_field + 2 * (row.stride or 0) < side
    module = backbones.architecture(name).build([layer], pooling="average", padding="zeros")
    assert support(module, layer, side) == (row.receptive_field, row.receptive_field)


def test_squeeze_and_excitation_sees_everything() -> None:
    rows = {row.name: row for row in inspection.table("efficientnet_b0").layers}
    assert rows["features.0"].receptive_field == rows["features.0"].window == 3
    assert rows["features.1"].receptive_field is None and rows["features.1"].window == 7
    module = backbones.architecture("efficientnet_b0").build(["features.1"], padding="zeros")
    assert support(module, "features.1", 40) == (40, 40)


def test_stacks_of_small_kernels_see_as_much_for_less() -> None:
    stacks = {(one.layers, one.kernel): (one.receptive_field, one.weights) for one in inspection.stacks()}
    assert stacks == {(2, 3): (5, 18), (3, 3): (7, 27), (1, 5): (5, 25), (1, 7): (7, 49)}


def test_multiply_adds_follow_the_size() -> None:
    small, large = (inspection.table("compact", size) for size in ((64, 64), (128, 192)))
    assert large.macs == 6 * small.macs and large.parameters == small.parameters


@pytest.mark.parametrize("name", ["inception_v3", "densenet121"])
def test_a_picture_that_is_too_small_is_told_in_one_line(name: str) -> None:
    with pytest.raises(OptionError, match=r"; give size (64|128|256)$") as error:
        inspection.table(name, (16, 16))
    assert "\n" not in str(error.value) and name in str(error.value)


# Pictures


@pytest.fixture(scope="module")
def compact() -> nn.Module:
    return backbones.load("compact", ["relu1_1", "relu2_1", "relu3_1"]).module


def test_maps_and_gram_are_the_networks(compact: nn.Module) -> None:
    pixels = tensor(photo())
    expected = compact(pixels)["relu2_1"][0].double().numpy()
    maps, gram = (one(compact, pixels, "relu2_1") for one in (inspection.feature_maps, inspection.gram))
    np.testing.assert_allclose(maps.numpy(), expected, rtol=1e-6)
    rows = expected.reshape(len(expected), -1)
    np.testing.assert_allclose(gram.numpy(), rows @ rows.T / rows.shape[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("layer", "factor"), [("relu1_1", 50), ("relu3_1", 5)])
def test_an_inversions_loss_falls_by_the_factor_stated(compact: nn.Module, layer: str, factor: float) -> None:
    pixels = tensor(photo())
    generator = torch.Generator().manual_seed(0)
    steps = list(inspection.invert(compact, pixels, layer, iterations=60, generator=generator))
    assert steps[-1].losses["content"] < steps[0].losses["content"] / factor
    found = steps[-1].pixels
    distance = losses.content_loss(compact(found)[layer], compact(pixels)[layer])
    assert float(distance) == pytest.approx(steps[-1].losses["content"], rel=1e-3)
    if layer == "relu1_1":
        assert (found - pixels).abs().mean() < (steps[0].pixels - pixels).abs().mean() / 3


def test_a_textures_loss_falls_by_the_factor_stated(compact: nn.Module) -> None:
    pixels = tensor(painting())
    layers = inspection.texture_layers(backbones.architecture("compact"), "relu3_1")
    assert layers == ("relu1_1", "relu2_1", "relu3_1")
    steps = list(inspection.texture(compact, pixels, layers, iterations=60, generator=torch.Generator().manual_seed(0)))
    assert steps[-1].losses["style"] < steps[0].losses["style"] / 50
    assert (steps[-1].pixels - pixels).abs().mean() > 0.1, "the same strokes, but elsewhere"


def test_a_search_follows_its_seed(compact: nn.Module) -> None:
    def found(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return list(inspection.invert(compact, tensor(photo()), "relu2_1", iterations=3, generator=generator))[
            -1
        ].pixels

    assert torch.equal(found(1), found(1)) and not torch.equal(found(1), found(2))


def test_texture_layers_go_as_deep_as_asked_for() -> None:
    vgg = backbones.architecture("vgg19")
    assert inspection.texture_layers(vgg, "relu3_2") == ("relu1_1", "relu2_1", "relu3_1", "relu3_2")
    assert inspection.texture_layers(vgg, "relu1_1") == ("relu1_1",)
    with pytest.raises(OptionError, match="did you mean 'relu3_1'"):
        inspection.texture_layers(vgg, "relu3-1")


# Plots


def colours(picture: Tensor) -> int:
    return len(np.unique((picture[0] * 255).round().numpy().reshape(3, -1), axis=1).T)


def test_a_sheet_shows_the_maps_that_vary(compact: nn.Module) -> None:
    maps = torch.zeros(12, 6, 8)
    maps[3, 2:4, 2:5] = 5
    maps[7] = torch.arange(48.0).view(6, 8)
    full, one = (inspection.sheet(maps, "title", shown=shown) for shown in (12, 1))
    assert one.shape[-1] < full.shape[-1]
    drawn = inspection.sheet(inspection.feature_maps(compact, tensor(photo()), "relu2_1"), "relu2_1", tensor(photo()))
    assert drawn.shape[:2] == (1, 3) and min(drawn.shape[2:]) > 300
    assert colours(drawn) > 300, "it is not blank"
    # The brightest map has the map's own brightest colour, the flat ones its darkest.
    assert colours(inspection.sheet(torch.zeros(4, 6, 8), "title")) < colours(full)


def test_a_heat_map_shows_what_goes_together() -> None:
    rows = torch.rand(6, 50, generator=torch.Generator().manual_seed(0))
    drawn = inspection.heat_map(rows @ rows.T / 50, "title")
    assert drawn.shape[:2] == (1, 3) and colours(drawn) > 200
    assert not torch.equal(drawn, inspection.heat_map(torch.eye(6), "title"))
    inspection.heat_map(torch.zeros(3, 3), "nothing")


def test_without_matplotlib_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (
        inspection.check,
        lambda: inspection.sheet(torch.ones(2, 3, 3), ""),
        lambda: inspection.heat_map(torch.eye(2), ""),
    ):
        with pytest.raises(OptionError) as error:
            draw()
        assert re.fullmatch(r"[^\n]*pip install 'styletx\[plots\]'[^\n]*", str(error.value))
