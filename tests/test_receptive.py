"""Receptive fields against the networks themselves: pixels outside change nothing, the outermost ones inside do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from styletx import backbones
from styletx.backbones import classifiers, receptive
from styletx.backbones.receptive import Span

POOLINGS, PADDINGS = ("max", "average"), ("reflect", "zeros")
# Odd sides, at which pools leave pixels over, large enough that some positions see no border.
CASES = [
    ("compact", ("relu1_1", "relu2_2", "relu3_2"), (61, 83)),
    ("compact", ("relu4_1",), (115, 93)),
    ("alexnet", ("features.2", "features.5"), (131, 141)),
    ("resnet18", ("relu", "maxpool", "layer1.1"), (85, 97)),
    ("resnet18", ("layer2.0",), (129, 117)),
]


def picture(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64)


def seen(span: Span, position: int, side: int) -> tuple[int, int]:
    """The pixels from the first to before the last that a position sees in a picture of a side."""
    return max(0, span.first + position * span.stride), min(side, span.last + position * span.stride + 1)


def increasing(network: nn.Module) -> nn.Module:
    """The network with positive weights, so that a brighter pixel brightens whatever depends on it."""
    for name, parameter in network.named_parameters():
        parameter.data = parameter.abs() + 0.01 if parameter.ndim > 1 else torch.zeros_like(parameter)
        if name.endswith("weight") and parameter.ndim == 1:
            parameter.data.fill_(1)
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var", ".bias", ".weight")):
            buffer.fill_(0 if name.endswith(("mean", "bias")) else 1)
    return network


def positions(shape: torch.Size) -> list[tuple[int, int]]:
    height, width = shape[-2:]
    return [(0, width - 1), (height // 2, width // 2), (height - 1, 1)]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("name", "layers", "size"), CASES)
def test_nothing_outside_a_span_changes_its_position(
    name: str, layers: tuple[str, ...], size: tuple[int, int], pooling: str, padding: str
) -> None:
    source = None if name == "compact" else "random"
    found = backbones.load(name, layers, weights=source, pooling=pooling, padding=padding)
    assert set(found.sights) == set(layers)
    network = found.module.double()
    pixels = picture(*size)
    other = picture(*reversed(size)).mT * 3 - 1
    plain = network(pixels)
    for layer in layers:
        sight = found.sights[layer]
        assert sight.spans is not None and not sight.everything
        for row, column in positions(plain[layer].shape):
            top, bottom = seen(sight.spans[0], row, size[0])
            left, right = seen(sight.spans[1], column, size[1])
            changed = other.clone()
            changed[..., top:bottom, left:right] = pixels[..., top:bottom, left:right]
            features = network(changed)[layer]
            assert torch.equal(features[..., row, column], plain[layer][..., row, column]), (layer, row, column)
            assert not torch.equal(features, plain[layer]), "the rest did change"


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("name", "layers", "size"), CASES)
def test_the_outermost_pixels_inside_a_span_change_its_position(
    name: str, layers: tuple[str, ...], size: tuple[int, int], pooling: str, padding: str
) -> None:
    found = backbones.load(name, layers, weights="random", pooling=pooling, padding=padding)
    network = increasing(found.module.double())
    pixels = picture(*size)
    plain = network(pixels)
    for layer in layers:
        down, across = found.sights[layer].spans or pytest.fail("it has a place")
        row, column = (side // 2 for side in plain[layer].shape[-2:])
        top, bottom = seen(down, row, size[0])
        left, right = seen(across, column, size[1])
        assert (bottom - top, right - left) == (down.last - down.first + 1, across.last - across.first + 1), (
            "the picture is large enough"
        )
        for edge in (
            (slice(top, top + 1), slice(left, right)),
            (slice(bottom - 1, bottom), slice(left, right)),
            (slice(top, bottom), slice(left, left + 1)),
            (slice(top, bottom), slice(right - 1, right)),
        ):
            brighter = pixels.clone()
            brighter[(..., *edge)] += 1e9  # so that it also is the largest of its pool
            before, after = (one[layer][..., row, column] for one in (plain, network(brighter)))
            assert (after > before).any(), (layer, edge)


@pytest.mark.parametrize(("pooling", "padding"), [("max", "reflect"), ("average", "zeros")])
def test_spans_of_vgg_in_closed_form(pooling: str, padding: str) -> None:
    found = backbones.load("compact", backbones.architecture("compact").layers, pooling=pooling, padding=padding)
    before, after, stride = 0, 0, 1
    for block, convolutions in enumerate((2, 2, 4, 4, 1), 1):
        for index in range(1, convolutions + 1):
            before, after = before + stride, after + stride
            span = Span(-before, after, stride)
            assert found.sights[f"relu{block}_{index}"].spans == (span, span)
        after, stride = after + stride, 2 * stride


def test_what_depends_on_the_whole_picture_says_so() -> None:
    squeezing = backbones.load("efficientnet_b0", ["features.0", "features.1"], weights="random").sights
    assert not squeezing["features.0"].everything and squeezing["features.1"].everything
    assert backbones.load("mobilenet_v3_small", ["features.0"], weights="random").sights["features.0"].width == 3
    smoothed = backbones.load("compact", ["relu1_1", "relu3_1"], smooth=True).sights
    assert all(sight.everything for sight in smoothed.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_sights_are_found_in_any_dtype_and_leave_the_network_as_it_is(dtype: torch.dtype) -> None:
    found = backbones.load("compact", ["relu2_1"])
    before = {name: tensor.clone() for name, tensor in found.module.to(dtype).state_dict().items()}
    assert found.sights["relu2_1"].spans == (Span(-4, 5, 2),) * 2
    assert found.sights is found.sights, "they are found once"
    after = found.module.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


class Crossing(nn.Module):
    """A short path beside a long one, whose second kernel has gaps."""

    def __init__(self) -> None:
        super().__init__()
        self.short = nn.Conv2d(3, 3, 1, stride=2)
        self.long = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, 2, padding=2, dilation=2))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"sum": self.short(pixels) + self.long(pixels)}


def test_where_paths_meet_the_widest_counts() -> None:
    sight = receptive.sights(Crossing())["sum"]
    assert (sight.width, sight.stride) == (7, 2) and sight.spans == (Span(-3, 3, 2),) * 2


class Turned(nn.Module):
    """Paths of different strides, a mean over each row, and a linear layer over all positions."""

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        rows = pixels.mean(-1, keepdim=True)
        return {"rows": pixels + rows, "turned": pixels.flip(-1), "product": pixels @ pixels.mT, "same": pixels * 2}


def test_an_operation_that_moves_or_mixes_positions_sees_everything() -> None:
    everything = {name: sight.everything for name, sight in receptive.sights(Turned()).items()}
    assert everything == {"rows": True, "turned": True, "product": True, "same": False}


def test_a_padded_pool_begins_before_the_picture() -> None:
    pool = classifiers.Pool(nn.MaxPool2d(3, 2, 1), "max")
    assert receptive.sights(Named(pool))["pool"].spans == (Span(-1, 1, 2),) * 2


class Named(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"pool": self.module(pixels)}
