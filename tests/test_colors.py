"""Colour transfer against the definition of what it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import painting, photo
from torch import Tensor

from styletx import images
from styletx.colors import Colors, axes, colors, contrast, contrasted, line, transferred

STYLES = Path(__file__).resolve().parents[1] / "assets" / "styles"


def normal(mean: list[float], mixing: list[list[float]], seed: int = 0) -> Tensor:
    """A picture of normally distributed colours."""
    values = torch.randn(3, 64 * 48, generator=torch.Generator().manual_seed(seed))
    return (torch.tensor(mean)[:, None] + torch.tensor(mixing) @ values).view(1, 3, 48, 64)


def test_mean_and_covariance_are_the_targets() -> None:
    picture = normal([0.5, 0.4, 0.6], [[0.08, 0, 0], [0.02, 0.06, 0], [0, 0.01, 0.05]])
    target = normal([0.4, 0.5, 0.5], [[0.05, 0, 0], [0.03, 0.04, 0], [0.03, 0, 0.03]], seed=1)
    moved, wanted = (one.double().numpy()[0].reshape(3, -1) for one in (transferred(picture, colors(target)), target))
    np.testing.assert_allclose(moved.mean(1), wanted.mean(1), atol=1e-4)
    np.testing.assert_allclose(np.cov(moved), np.cov(wanted), atol=0.02 * np.cov(wanted).max())


def test_it_moves_the_colours_least() -> None:
    # A linear map is the optimal transport between two normal distributions if its matrix is symmetric and positive.
    picture = normal([0.5, 0.5, 0.5], [[0.05, 0.02, 0], [0, 0.06, 0.01], [0.01, 0, 0.04]])
    target = normal([0.5, 0.5, 0.5], [[0.03, 0, 0.02], [0.02, 0.04, 0], [0, 0.01, 0.05]], seed=1)
    moved = transferred(picture, colors(target))
    before, after = ((one.double() - 0.5).flatten(2)[0].numpy() for one in (picture, moved))
    matrix = np.linalg.lstsq(np.vstack([before, np.ones(before.shape[1])]).T, after.T, rcond=None)[0][:3]
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-4)
    assert np.linalg.eigvalsh(matrix).min() > 0


def test_colours_are_counted_by_alpha_in_bands_of_rows() -> None:
    pixels, alpha = torch.rand(1, 3, 600, 5), torch.rand(1, 1, 600, 5)
    found = colors(pixels, alpha)
    values, shares = pixels.double().numpy().reshape(3, -1), alpha.double().numpy().reshape(-1)
    np.testing.assert_allclose(found.mean, np.average(values, axis=1, weights=shares), rtol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(values, aweights=shares, ddof=0), atol=1e-7)


@pytest.mark.parametrize("spread", [1.0, 0.3])
def test_a_grey_painting_gives_a_grey_picture(spread: float) -> None:
    grey = colors(spread * images.read(painting()).pixels.mean(1, keepdim=True).expand(1, 3, -1, -1))
    picture = images.read(photo()).pixels
    moved = lively(picture, grey)
    assert (moved.amax(1) - moved.amin(1)).max() < 1 / 255


def test_a_photograph_keeps_its_contrast_along_the_line_of_the_paintings_lights_and_darks() -> None:
    picture = normal([0.5, 0.5, 0.5], [[0.1, 0, 0], [0.1, 0.01, 0], [0.1, 0, 0.01]])
    sepia = colors(normal([0.6, 0.5, 0.4], [[0.04, 0, 0], [0.03, 0, 0], [0.02, 0, 0]], seed=1))
    pale = transferred(picture, sepia)
    moved = lively(picture, sepia)
    assert luminance(pale).std() < 0.4 * luminance(picture).std()
    assert float(luminance(moved).std()) == pytest.approx(float(luminance(picture).std()), rel=0.02)
    red, green, blue = (moved[0, :, moved[0].amax(0) < 0.9] - sepia.mean.float().view(3, 1)).unbind()
    torch.testing.assert_close(green, 0.75 * red, atol=2e-3, rtol=0.01)
    torch.testing.assert_close(blue, 0.5 * red, atol=2e-3, rtol=0.01)


def test_contrast_clips_hardly_anything() -> None:
    picture = normal([0.5, 0.5, 0.5], [[0.2, 0, 0], [0.2, 0, 0], [0.2, 0, 0]]).clamp(0, 1)
    paper = colors(normal([0.9, 0.9, 0.9], [[0.05, 0, 0], [0.05, 0, 0], [0.05, 0, 0]], seed=1))
    pale = transferred(picture, paper)
    moved = lively(picture, paper)
    assert (moved >= 1).float().mean() < max(0.03, 1.05 * float((pale >= 1).float().mean()))
    assert luminance(moved).min() < 0.5 < luminance(pale).min()


def test_contrast_is_taken_from_nothing() -> None:
    picture = images.read(photo()).pixels
    strong = colors((images.read(painting()).pixels - 0.5) * 3 + 0.5)
    assert contrast(transferred(picture, strong), picture, strong) is None


def lively(picture: Tensor, target: Colors) -> Tensor:
    moved = transferred(picture, target)
    return contrasted(moved, contrast(moved, picture, target))


def luminance(picture: Tensor) -> Tensor:
    red, green, blue = picture[0]
    return 0.299 * red + 0.587 * green + 0.114 * blue


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_flat_picture_gets_the_mean_colour(value: float) -> None:
    target = images.read(painting()).pixels
    flat = torch.full((1, 3, 8, 8), value)
    moved = lively(flat, colors(target))
    torch.testing.assert_close(moved.mean((2, 3)), target.mean((2, 3)), atol=1e-3, rtol=0)


def test_a_picture_keeps_its_own_colours() -> None:
    picture = images.read(photo()).pixels
    assert (transferred(picture, colors(picture)) - picture).abs().max() < 4 / 255


def test_steps_are_longest_where_a_picture_varies_most_and_never_very_short() -> None:
    found = axes(colors(normal([0.5, 0.5, 0.5], [[0.1, 0, 0], [0.1, 0.02, 0], [0.1, 0, 0.001]])))
    values, vectors = torch.linalg.eigh(found)
    torch.testing.assert_close(found, found.mT)
    assert values.tolist() == pytest.approx([0.6, 0.6, 1])
    assert float(vectors[:, -1].sum().abs()) > 0.98 * 3**0.5


def test_ink_on_paper_lies_on_a_line() -> None:
    ink, paper = torch.tensor([0.2, 0.2, 0.3]), torch.tensor([0.95, 0.94, 0.9])
    shares = torch.rand(1, 1, 24, 32, generator=torch.Generator().manual_seed(0))
    drawing = ink.view(1, 3, 1, 1).lerp(paper.view(1, 3, 1, 1), shares)
    found = line(colors(drawing))
    assert found is not None
    point, direction = found
    expected = torch.nn.functional.normalize(paper - ink, dim=0).double()
    assert abs(float(direction @ expected)) == pytest.approx(1, abs=1e-5)
    away = point - ink.double()
    torch.testing.assert_close(away, expected * (away @ expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["pen", "ink-wash", "woodcut", "poster"])
def test_only_the_pens_colours_lie_on_a_line(name: str) -> None:
    found = line(colors(images.read(STYLES / f"{name}.jpg").pixels))
    assert (found is not None) == (name == "pen")


def test_one_colour_is_no_line() -> None:
    assert line(colors(torch.full((1, 3, 8, 8), 0.5))) is None
