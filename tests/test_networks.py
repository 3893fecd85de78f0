"""The transformer network: its layout, its layers against slower ways to the same, any size."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from styletx.colors import transferred
from styletx.errors import OptionError
from styletx.feedforward import scales
from styletx.feedforward.networks import JOHNSON, NETWORKS, Descriptor, Layout, Transformer, build
from styletx.feedforward.networks.layers import (
    EPSILON,
    Convolution,
    InstanceNorm,
    ResidualBlock,
    ResizeConvolution,
    instance_norm,
)

SMALL = Layout(widths=(4, 6, 8), blocks=2)


def parameters(layout: Layout) -> int:
    return sum(parameter.numel() for parameter in Transformer(layout).parameters())


def test_johnsons_layout_has_the_published_number_of_parameters() -> None:
    assert parameters(JOHNSON) == 1_679_235  # PyTorch's fast_neural_style example


def test_parameters_of_a_layout_counted_by_hand() -> None:
    widths, blocks = (4, 6, 8), 2
    stem = sum(i * o * k * k + o + 2 * o for (i, o), k in zip(pairwise((3, *widths)), (5, 3, 3), strict=True))
    trunk = blocks * 2 * (8 * 8 * 9 + 8 + 2 * 8)
    head = (8 * 6 * 9 + 6 + 2 * 6) + (6 * 4 * 9 + 4 + 2 * 4) + (4 * 3 * 9 + 3)
    assert parameters(SMALL) == stem + trunk + head


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (23, 16), (19, 20), (61, 128)])
@pytest.mark.parametrize("layout", [SMALL, Layout((4, 6, 8), 1, expansion=2), Layout((4, 4, 8), 1, 9, 1, lowpass=True)])
def test_any_size_comes_out_as_it_went_in(layout: Layout, size: tuple[int, int]) -> None:
    painted = Transformer(layout)(torch.rand(2, 3, *size))
    assert painted.shape == (2, 3, *size)
    assert painted.isfinite().all()


@pytest.mark.parametrize(("smooth", "mode"), [(True, "bilinear"), (False, "nearest")])
def test_a_resize_convolution_is_a_convolution_of_what_was_resized(smooth: bool, mode: str) -> None:
    layer = ResizeConvolution(5, 7, smooth).double()
    features = torch.rand(2, 5, 9, 6, dtype=torch.float64)
    large = F.interpolate(F.pad(features, (1, 1, 1, 1), mode="reflect"), scale_factor=2, mode=mode)
    expected = F.conv2d(large, layer.weight, layer.bias)[..., 1:-1, 1:-1]
    torch.testing.assert_close(layer(features), expected, rtol=0, atol=1e-12)


def test_instance_norm_is_by_picture_and_channel() -> None:
    norm = InstanceNorm(3)
    torch.nn.init.uniform_(norm.weight)
    torch.nn.init.uniform_(norm.bias)
    features = torch.rand(2, 3, 8, 9).to(memory_format=torch.channels_last) * 5
    mean, variance = features.mean((2, 3), keepdim=True), features.var((2, 3), correction=0, keepdim=True)
    expected = (features - mean) / (variance + EPSILON).sqrt() * norm.weight.view(3, 1, 1) + norm.bias.view(3, 1, 1)
    torch.testing.assert_close(instance_norm(norm, features), expected)


def test_contrast_and_colour_cast_of_a_photograph_make_no_difference() -> None:
    network, photograph = Transformer(SMALL).eval(), torch.rand(1, 3, 64, 64)
    changed = photograph * 0.5 + 0.2
    torch.testing.assert_close(network(photograph), network(changed), rtol=0, atol=2e-3)


def test_a_block_without_its_skip_is_the_rest_of_it() -> None:
    block = ResidualBlock(4, 0, skip=True)
    features = torch.rand(1, 4, 8, 8)
    with_skip = block(features)
    block.skip = False
    torch.testing.assert_close(with_skip - features, block(features))


@pytest.mark.parametrize("layout", [SMALL, JOHNSON, Layout((4, 4, 6, 8), 1, 15), Layout((6,), 0, 3, 1)])
def test_the_shortest_side_that_it_takes(layout: Layout) -> None:
    network = Transformer(layout)
    side = network.descriptor.minimum
    assert side >= 16
    for size in ((side, side), (side, side + 1), (side + 30, side)):
        assert network(torch.rand(1, 3, *size)).shape[-2:] == size


def test_stem_last_layer_and_sums_stay_float32_and_the_rest_does_not() -> None:
    network = Transformer(SMALL)
    network.use(torch.bfloat16)
    made: dict[str, torch.dtype] = {}
    for name, layer in network.named_modules():
        if isinstance(layer, Convolution | ResidualBlock):
            layer.register_forward_hook(lambda layer, given, result, name=name: made.update({name: result.dtype}))
    assert network(torch.rand(1, 3, 32, 40)).dtype == torch.float32
    rounded = {name.split(".")[0] for name, dtype in made.items() if dtype == torch.bfloat16}
    exact = {
        name.split(".")[0] for name, dtype in made.items() if dtype == torch.float32 and "convolutions" not in name
    }
    assert (rounded, exact) == ({"blocks", "head"}, {"stem", "blocks", "last"})
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    network.use(torch.float32)
    made.clear()
    network(torch.rand(1, 3, 32, 40))
    assert set(made.values()) == {torch.float32}


def test_a_network_is_built_from_its_kinds_name_and_its_layout() -> None:
    network = build("transformer", dataclasses.asdict(SMALL))
    assert isinstance(network, Transformer) and network.layout == SMALL
    assert NETWORKS.keys() == {network.descriptor.name}
    assert network.descriptor == Descriptor("transformer", 8, 16, strips=True, bfloat16=True, onnx=True)
    with pytest.raises(KeyError):
        build("unknown", {})


def test_a_batch_is_what_its_pictures_are() -> None:
    network, pixels = Transformer(SMALL).eval(), torch.rand(3, 3, 40, 48)
    one_by_one = torch.cat([network(one) for one in pixels.split(1)])
    torch.testing.assert_close(network(pixels), one_by_one, rtol=1e-4, atol=1e-5)


def test_statistics_can_be_given() -> None:
    network, pixels = Transformer(SMALL).eval(), torch.rand(1, 3, 48, 40)
    seen: list[InstanceNorm] = []

    def watched(norm: InstanceNorm, features: torch.Tensor) -> torch.Tensor:
        seen.append(norm)
        return instance_norm(norm, features)

    torch.testing.assert_close(network(pixels, watched), network(pixels))
    assert len(seen) == len({id(norm) for norm in seen}) == 3 + 2 * 2 + 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"widths": ()},
        {"widths": (0, 8)},
        {"kernel": 4},
        {"stride": 3},
        {"blocks": -1},
        {"widths": (8,) * 5},
        {"bridges": 1},
        {"bridges": True, "stride": 1},
    ],
)
def test_a_layout_that_cannot_be_built_says_so(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="cannot be built"):
        Layout(**wrong)  # type: ignore[arg-type]


def test_a_network_confined_to_a_line_paints_the_nearest_colours_on_it() -> None:
    torch.manual_seed(0)
    network = Transformer(Layout(widths=(4, 8), blocks=1))
    pixels = torch.rand(1, 3, 32, 48)
    point, direction = (
        torch.tensor([0.9, 0.8, 0.7]),
        torch.nn.functional.normalize(torch.tensor([1.0, 1.0, 0.5]), dim=0),
    )
    with torch.no_grad():
        before = network(pixels)
        network.confine(point, direction)
        after = network(pixels)
    point, direction = point.view(1, 3, 1, 1), direction.view(1, 3, 1, 1)
    nearest = point + direction * ((before - point) * direction).sum(1, keepdim=True)
    torch.testing.assert_close(after, nearest, atol=1e-5, rtol=0)


def test_a_network_with_bridges_that_is_confined_stays_on_the_line_of_its_palette() -> None:
    torch.manual_seed(0)
    network = Transformer(Layout(widths=(4, 8), blocks=1, bridges=True)).requires_grad_(False)
    assert network.palette is not None
    spread = torch.rand(3, 3)
    network.palette.copy_(torch.cat([torch.tensor([[0.5, 0.4, 0.3]]), 0.02 * spread @ spread.T]))
    point, direction = torch.tensor([0.9, 0.8, 0.7]), torch.nn.functional.normalize(torch.tensor([1.0, 1, 0.5]), dim=0)
    network.confine(point, direction)
    *_, (_, painted) = scales.repaint(network, torch.rand(1, 3, 32, 48), [(32, 48)], seed=0)
    free = painted[:, :, ((painted > 0) & (painted < 1)).all(1)[0]]  # what lies outside is clipped
    away = free - point.view(1, 3, 1)
    torch.testing.assert_close(
        away, direction.view(1, 3, 1) * (away * direction.view(1, 3, 1)).sum(1), atol=1e-5, rtol=0
    )
    assert free.shape[-1] > 100 and free.std() > 0.05


def test_bridges_give_the_photograph_in_the_palettes_colours_and_what_is_painted_is_added_to_it() -> None:
    network = Transformer(Layout(widths=(4, 8), blocks=1, bridges=True)).requires_grad_(False)
    assert network.palette is not None
    network.palette.copy_(torch.tensor([[0.5, 0.4, 0.3], [0.02, 0, 0], [0, 0.01, 0], [0, 0, 0.01]]))
    for parameter in network.last.parameters():
        parameter.zero_()
    colors, pixels = network.descriptor.colors, torch.rand(2, 3, 32, 48)
    assert colors is not None
    *_, (_, painted) = scales.repaint(network, pixels, [(32, 48)], seed=0)
    for one, given in zip(painted.split(1), pixels.split(1), strict=True):
        torch.testing.assert_close(one, transferred(given, colors), atol=1e-5, rtol=0)
