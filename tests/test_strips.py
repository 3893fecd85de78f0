"""Large pictures are repainted in strips, and come out as if they had gone through the network whole."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import Processes, photo
from torch import Tensor

from styletx import images
from styletx.feedforward import models, strips
from styletx.feedforward.networks import Descriptor, Layout, Transformer
from styletx.feedforward.networks.layers import InstanceNorm

SHARED = Path(__file__).resolve().parents[2] / "shared"
LAYOUTS = {
    "two halvings": Layout(widths=(4, 6, 8), blocks=2),
    "published, but narrow": Layout(widths=(4, 6, 8), blocks=2, kernel=9, stride=1, smooth=False),
    "wide blocks": Layout(widths=(4, 8), blocks=2, expansion=2),
    "no skips": Layout(widths=(4, 8), blocks=1, skip=False),
    "one stage, no blocks": Layout(widths=(6,), blocks=0, kernel=3, stride=1),
    "lowpass": Layout(widths=(4, 6, 8), blocks=1, lowpass=True),
    "bridges": Layout(widths=(4, 6, 8), blocks=1, lowpass=True, bridges=True),
    "four stages": Layout(widths=(4, 4, 6, 8), blocks=1, kernel=15),
}


def network(layout: Layout, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    made = Transformer(layout).eval()
    for parameter in made.parameters():
        if parameter.ndim == 1:  # no norm is left at scale 1 and shift 0
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    if made.palette is not None:
        made.palette.copy_(torch.tensor([[0.5, 0.4, 0.3], [0.1, 0.02, 0], [0.02, 0.05, 0.01], [0, 0.01, 0.02]]))
    return made.requires_grad_(False)


def uneven(height: int, width: int) -> Tensor:
    """A picture of which the upper half is flat and the lower half full of detail, so that no strip is like another."""
    pixels = images.resize(images.read(photo()).pixels, (height, width))
    pixels[..., : height // 2, :] = torch.tensor([0.4, 0.6, 0.9]).view(1, 3, 1, 1)
    noise = torch.rand((1, 3, height - height // 2, width), generator=torch.Generator().manual_seed(1))
    pixels[..., height // 2 :, :] = pixels[..., height // 2 :, :].lerp(noise, 0.4)
    return pixels


def finished(pairs: object) -> Tensor:
    share, canvas = list(pairs)[-1]  # type: ignore[call-overload]
    assert share == 1
    return canvas


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("size", [(331, 90), (417, 53)])
def test_strips_are_the_same_as_the_whole(name: str, size: tuple[int, int]) -> None:
    made, pixels = network(LAYOUTS[name]), uneven(*size)
    in_strips = finished(strips.repaint(made, pixels, whole_pixels=0, tile_pixels=64 * size[1]))
    whole = finished(strips.repaint(made, pixels))
    assert whole.std() > 0.05
    difference = (in_strips - whole).abs() * 255
    # What is left is the rounding of the features that are kept in half precision.
    assert difference.mean() < 0.25
    assert difference.max() < 4


@pytest.mark.parametrize("smaller", [1, 3])
def test_strips_with_a_collage_are_the_same_as_the_whole(smaller: int) -> None:
    made = network(Layout(widths=(4, 6, 8), blocks=1, lowpass=True, bridges=True, collage=True))
    pixels = uneven(330, 90)
    collages = images.resize(pixels.flip(2), (330 // smaller, 90 // smaller))
    beside = torch.cat([collages, 0.3 - 0.5 * collages], 1)
    in_strips = finished(strips.repaint(made, pixels, beside, whole_pixels=0, tile_pixels=64 * 90))
    whole = finished(strips.repaint(made, pixels, beside))
    without = finished(strips.repaint(made, pixels, torch.cat([pixels, 0 * pixels], 1)))
    assert (whole - without).abs().mean() * 255 > 5
    difference = (in_strips - whole).abs() * 255
    assert difference.mean() < 0.25 and difference.max() < 4
    given = (pixels + images.resize(beside[:, 3:] / 2 + 0.5, (330, 90)) * 2 - 1).clamp(0, 1)
    for whole_pixels in (330 * 90, 0):
        half = finished(strips.repaint(made, pixels, beside, share=0.5, whole_pixels=whole_pixels, tile_pixels=64 * 90))
        assert (half - (whole + given) / 2).abs().mean() * 255 < 1


def test_statistics_are_the_whole_pictures() -> None:
    features = torch.randn(1, 5, 64, 9, generator=torch.Generator().manual_seed(0)) * 3 + 1000
    features[..., :20, :] -= 500
    statistics, norm = strips._Statistics(), InstanceNorm(5)
    norm.weight.data, norm.bias.data = torch.linspace(0.5, 2, 5), torch.linspace(-1, 1, 5)
    for part in features.split([20, 7, 37], dim=-2):
        statistics.add(norm, part)
    weight, bias = (norm.get_parameter(name).double() for name in ("weight", "bias"))
    expected = F.instance_norm(features.double(), weight=weight, bias=bias)
    torch.testing.assert_close(statistics.normalise(norm, features).double(), expected, rtol=1e-4, atol=1e-4)


def test_a_strip_that_is_narrow_and_a_rest_that_is_short() -> None:
    made, pixels = network(LAYOUTS["two halvings"]), uneven(64 * 3 + 17, 16)
    in_strips = finished(strips.repaint(made, pixels, whole_pixels=0, tile_pixels=1))
    torch.testing.assert_close(in_strips, made(pixels).clamp(0, 1), rtol=0, atol=4 / 255)


def test_shares_rise_to_one_and_the_canvas_stays_the_same() -> None:
    made, pixels = network(LAYOUTS["two halvings"]), uneven(200, 40).repeat(2, 1, 1, 1)
    shares, canvases = zip(*strips.repaint(made, pixels, whole_pixels=0, tile_pixels=1), strict=True)
    assert list(shares) == sorted(shares) and shares[-1] == 1 and len(set(shares)) == len(shares)
    assert {id(canvas) for canvas in canvases} == {id(canvases[0])}


@pytest.mark.parametrize("name", ["two halvings", "bridges"])
@pytest.mark.parametrize("whole_pixels", [0, 10**6], ids=["in strips", "whole"])
def test_the_photograph_is_overwritten_only_if_asked(whole_pixels: int, name: str) -> None:
    made, pixels = network(LAYOUTS[name]), uneven(200, 40)
    before = pixels.clone()
    new = finished(strips.repaint(made, pixels, whole_pixels=whole_pixels, tile_pixels=1))
    assert torch.equal(pixels, before)
    same = finished(strips.repaint(made, pixels, whole_pixels=whole_pixels, tile_pixels=1, in_place=True))
    assert same.data_ptr() == pixels.data_ptr()
    assert torch.equal(same, new)


def test_a_batch_is_as_its_pictures() -> None:
    made = network(LAYOUTS["two halvings"])
    pixels = torch.cat([uneven(150, 40), uneven(150, 40).flip(-1), uneven(150, 40).flip(-2)])
    expected = torch.cat([made(one).clamp(0, 1) for one in pixels.split(1)])
    for whole_pixels in (0, 150 * 40 * 2, 10**6):
        found = finished(strips.repaint(made, pixels, whole_pixels=whole_pixels, tile_pixels=1))
        torch.testing.assert_close(found, expected, rtol=0, atol=4 / 255)


def test_a_batch_goes_through_as_many_at_once_as_fit() -> None:
    made, sizes = network(LAYOUTS["two halvings"]), []
    made.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    finished(strips.repaint(made, uneven(50, 40).repeat(5, 1, 1, 1), whole_pixels=50 * 40 * 2))
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("whole_pixels", [0, 10**6], ids=["in strips", "whole"])
def test_pixels_of_any_precision_keep_it(whole_pixels: int) -> None:
    made, pixels = network(LAYOUTS["two halvings"]), uneven(200, 40)
    expected = made(pixels).clamp(0, 1)
    found = finished(strips.repaint(made, pixels.double(), whole_pixels=whole_pixels, tile_pixels=1))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=4 / 255)


def test_a_network_that_denies_strips_is_given_the_whole_picture() -> None:
    class Doubling:
        descriptor = Descriptor("doubling")

        def __call__(self, pixels: Tensor) -> Tensor:
            return 2 * pixels

    pixels = uneven(100, 40)
    found = finished(strips.repaint(Doubling(), pixels, whole_pixels=0))
    assert torch.equal(found, (2 * pixels).clamp(0, 1))


def test_nothing_is_left_for_a_gradient() -> None:
    made = network(LAYOUTS["two halvings"]).requires_grad_(True)
    for share, canvas in strips.repaint(made, uneven(100, 40)):
        assert torch.is_grad_enabled() and not canvas.requires_grad and share == 1


MEASURE = """
import torch
from styletx.feedforward import strips
from styletx.feedforward.networks import Layout, Transformer

def peak():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) * 1024

network = Transformer(Layout(widths=(2, 2, 4), blocks=1)).eval()
for side in (16, {side}):
    pixels = torch.zeros(1, 3, side, side)
    for row in pixels.unbind(-2):
        row.copy_(torch.rand(3, side))
    for share, canvas in strips.repaint(network, pixels, in_place=True): pass
    assert share == 1 and canvas.min() >= 0 and canvas.max() <= 1
    print(peak())
"""
HUNDRED_MEGAPIXELS = pytest.param(10_000, marks=pytest.mark.slow(reason="repaints a hundred megapixels"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("side", [4_000, HUNDRED_MEGAPIXELS])
def test_a_picture_takes_thirty_bytes_a_pixel_and_a_hundred_megapixels_three_gigabytes(
    processes: Processes, side: int
) -> None:
    done = processes.finish(sys.executable, "-c", MEASURE.format(side=side))
    assert done.returncode == 0, done.stderr
    small, large = map(int, done.stdout.split())
    assert large - small < 30 * side**2 and large < 3 * 10**9


@pytest.mark.slow(reason="repaints three megapixels four times")
@pytest.mark.skipif(not SHARED.is_dir(), reason="the photographs to measure on are not here")
@pytest.mark.parametrize("name", ["golden_gate.jpg", "tubingen.jpg"])
@pytest.mark.parametrize("style", list(models.bundled())[:2])
def test_strips_of_a_photograph_are_the_same_as_the_whole(name: str, style: str) -> None:
    pixels = images.read(SHARED / "pairs/content" / name).pixels
    scale = max(1536 / pixels.shape[-2], 2048 / pixels.shape[-1])
    pixels = images.resize(pixels, (math.ceil(pixels.shape[-2] * scale), math.ceil(pixels.shape[-1] * scale)))
    pixels = pixels[..., :1536, :2048]
    pixels[..., :700, :] = pixels[..., :1, :1]
    made = models.read(models.bundled()[style]).network
    whole = finished(strips.repaint(made, pixels))
    in_strips = finished(strips.repaint(made, pixels, whole_pixels=0, tile_pixels=2**18))
    difference = (in_strips - whole).abs().amax(1) * 255
    assert difference.mean() < 1
    assert (difference > 4).float().mean() < 0.001
