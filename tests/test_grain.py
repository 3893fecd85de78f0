"""Grain: only where nothing is seen, the same everywhere and always, and enough for every bundled style."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

import styletx
from styletx import grain, images
from styletx.feedforward.models import bundled, painting


def gradient() -> Image.Image:
    ramp = np.linspace(40, 220, 256).astype(np.uint8)[:, None].repeat(320, 1)
    return Image.fromarray(np.stack([ramp, ramp // 2, 255 - ramp], 2))


def logo() -> Image.Image:
    picture = Image.new("RGB", (320, 256), (20, 60, 200))
    ImageDraw.Draw(picture).ellipse((110, 80, 210, 180), fill="yellow")
    return picture


def page() -> Image.Image:
    picture = Image.new("RGB", (320, 256), "white")
    for line in range(8):
        ImageDraw.Draw(picture).text((20, 20 + 24 * line), "Paintings, not patterns.", fill="black")
    return picture


def night() -> Image.Image:
    picture = Image.new("RGB", (320, 256), (8, 10, 24))
    for column, row in np.random.default_rng(0).integers(0, (320, 200), (30, 2)):
        picture.putpixel((int(column), int(row)), (255, 255, 255))
    return picture


def bare(pixels: Tensor) -> float:
    """The share of a picture's squares of 16 px that show next to nothing."""
    luminance = pixels[0].mean(0) * 255
    height, width = (extent // 16 * 16 for extent in luminance.shape)
    squares = luminance[:height, :width].unfold(0, 16, 16).unfold(1, 16, 16).flatten(2)
    return float((squares.std(2) < 2).float().mean())


@pytest.mark.parametrize("make", [lambda: Image.new("RGB", (320, 256), "blue"), logo, gradient, page, night])
@pytest.mark.parametrize(
    "style",
    [
        pytest.param(
            name,
            marks=() if name in ("mosaic", "starry-night") else pytest.mark.slow(reason="one bundled style of several"),
        )
        for name in sorted(bundled())
    ],
)
def test_no_trained_style_leaves_flat_parts_bare_or_in_a_grid(make: Callable[[], Image.Image], style: str) -> None:
    result = styletx.stylize(make(), style, size="original", device="cpu", precision="float32")
    picture = painting(bundled()[style])
    assert picture is not None
    seen = images.read(picture).pixels
    # A poster has flat colours, and a drawing empty paper; 0.13 and 0.06 of those paintings.
    assert bare(result.pixels) <= 0.03 + bare(images.resize(seen, images.fit((seen.shape[-2], seen.shape[-1]), 320)))
    luminance = result.pixels[0].mean(0) * 255
    shifted = (luminance[8:, 8:] - luminance[:-8, :-8]).abs().mean()
    assert shifted > 1  # a grid of 8 px repeats itself


def test_what_is_not_flat_gets_none() -> None:
    busy = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert grain.added(busy, 0) is busy
    half = busy.clone()
    half[..., 32:] = 0.3
    found = grain.added(half, 0)
    assert torch.equal(found[..., :32], half[..., :32])
    grey = (found - half)[..., 32:]
    torch.testing.assert_close(grey[:, :1].expand(1, 3, -1, -1), grey, atol=1e-6, rtol=0)
    fine = grey.diff(dim=3) / 2**0.5  # clouds hardly change from one pixel to the next
    beside, inside = (float(part.std()) for part in (fine[..., :3], fine[..., 8:]))
    assert inside == pytest.approx(grain.DEVIATION, rel=0.1) and 0.2 * inside < beside < 0.8 * inside


@pytest.mark.parametrize("size", [(64, 64), (61, 90), (300, 47)])
def test_it_is_the_same_at_a_position_in_any_picture_and_strip(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(height: int, width: int, seed: int = 0) -> Tensor:
        return grain.added(torch.full((1, 3, height, width), 0.5), seed)

    whole, part = of(320, 96), of(*size)
    rows, columns = min(size[0], 320) - 8, min(size[1], 96) - 8  # a last block of less than 4 px may count as flat
    torch.testing.assert_close(whole[..., :rows, :columns], part[..., :rows, :columns], atol=1e-6, rtol=0)
    assert not torch.equal(of(*size), of(*size, seed=1))
    monkeypatch.setattr(grain, "BAND", 5)
    torch.testing.assert_close(of(*size), part, atol=1e-6, rtol=0)


def test_a_network_sees_it_on_its_coarsest_grid() -> None:
    grey = grain.added(torch.full((1, 3, 256, 256), 0.5), 0)
    assert F.avg_pool2d(grey, 8).std() > 0.5 * grain.MOTTLE  # of white noise an eighth would be left
    assert F.avg_pool2d(grey, 64).std() < 0.3 * grain.MOTTLE


def test_clouds_are_as_large_as_strokes_and_the_same_at_any_size() -> None:
    flat = torch.full((1, 3, 448, 448), 0.5)
    clouds = grain.clouded(flat, 0, 1)
    grey = clouds[0].mean(0)
    torch.testing.assert_close(clouds[0], grey.expand(3, -1, -1))
    assert float(grey.std()) == pytest.approx(grain.CLOUDS, rel=0.3)
    assert F.avg_pool2d(clouds, 8).std() > 0.9 * grey.std()  # a network's coarsest grid
    assert F.avg_pool2d(clouds, 128).std() < 0.5 * grey.std()
    for size in ((224, 224), (700, 700)):
        other = grain.clouded(torch.full((1, 3, *size), 0.5), 0, 1)
        torch.testing.assert_close(images.resize(other, (448, 448)), clouds, atol=0.02, rtol=0)
    assert (grain.clouded(flat, 1, 1) - clouds).abs().mean() > 0.5 * grain.CLOUDS


def test_clouds_are_only_where_a_picture_is_flat_far_and_wide() -> None:
    busy = torch.rand(1, 3, 448, 448, generator=torch.Generator().manual_seed(0))
    assert grain.clouded(busy, 0, 1) is busy
    busy[..., 200:] = 0.3
    busy[..., 40:72, 40:72] = 0.3  # too small for a cloud
    changed = (grain.clouded(busy, 0, 1) - busy).abs()
    assert changed[..., :180].max() == 0 < changed[..., 204:216].mean() < changed[..., 300:].mean()
    half = grain.clouded(busy, 0, 0.5) - busy
    torch.testing.assert_close(2 * half.abs()[..., 240:], changed[..., 240:], atol=1e-6, rtol=0)
    assert grain.clouded(busy, 0, 0) is busy is grain.clouded(busy, 0, 1, in_place=True)


def test_it_is_written_in_place_where_that_is_asked_for() -> None:
    flat = torch.full((1, 3, 32, 32), 0.5)
    assert grain.added(flat, 0, in_place=True) is flat and flat.std() > 0.005


def test_the_seed_chooses_the_grain() -> None:
    options = {"size": "original", "device": "cpu", "precision": "float32"}
    first, again, other = (
        styletx.stylize(logo(), "mosaic", seed=seed, **options).pixels  # type: ignore[arg-type]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
