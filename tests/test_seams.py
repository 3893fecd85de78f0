"""Pictures that tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from styletx import images
from styletx.stylizers import Part, seams, stylize

ASSETS = Path(__file__).resolve().parents[1] / "assets"
CAT, IMPASTO = ASSETS / "content/cat.jpg", ASSETS / "styles/impasto.jpg"
SMALL: dict[str, Any] = {"size": 160, "device": "cpu", "precision": "float32"}


def differences(pixels: Tensor, axis: int) -> tuple[float, float]:
    """How different the two edges are, and neighbours inside, on average."""
    across = pixels.narrow(axis, pixels.shape[axis] - 1, 1) - pixels.narrow(axis, 0, 1)
    return float(across.abs().mean()), float(pixels.diff(dim=axis).abs().mean())


@pytest.mark.parametrize("style", [IMPASTO, "mosaic", [IMPASTO, Part("pen", region=ASSETS / "content/rocket.jpg")]])
@pytest.mark.parametrize("axes", ["x", "y", "xy"])
def test_what_is_painted_goes_on_at_the_opposite_edge(axes: str, style: Any) -> None:
    result = stylize(CAT, style, seamless=axes, **SMALL)
    assert result.pixels.shape == (1, 3, 106, 160)
    for axis in (seams.AXES[name] for name in axes):
        seam, inside = differences(result.pixels, axis)
        assert seam <= 1.1 * inside
    plain = stylize(CAT, style, **SMALL).pixels
    assert max(seam / inside for seam, inside in (differences(plain, seams.AXES[name]) for name in axes)) > 1.5


def test_a_photograph_that_tiles_stays_as_it_is() -> None:
    rows, columns = torch.arange(96).view(-1, 1), torch.arange(128)
    wave = 0.5 + 0.4 * torch.sin(rows * torch.pi / 24) * torch.cos(columns * torch.pi / 16)
    photo = wave.expand(1, 3, 96, 128)
    assert seams.periodic(photo, "xy") is photo
    cat = images.resize(images.read(CAT).pixels, (96, 128))
    made = seams.periodic(cat, "x")
    seam, inside = differences(made, -1)
    assert seam < inside and torch.equal(made[..., 32:96], cat[..., 32:96])


@pytest.mark.parametrize("size", [(16, 17), (57, 200), (64, 48)])
def test_what_is_beyond_is_cut_off_again(size: tuple[int, int]) -> None:
    photo = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(seams.closed(seams.beyond(photo, "xy"), "xy"), photo)
