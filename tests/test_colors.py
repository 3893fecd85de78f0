"""Colour transfer against the definition of what it does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import painting, photo
from torch import Tensor

from styletx import images
from styletx.colors import colors, transferred


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


def test_a_grey_painting_gives_a_grey_picture() -> None:
    grey = images.read(painting()).pixels.mean(1, keepdim=True).expand(1, 3, -1, -1)
    moved = transferred(images.read(photo()).pixels, colors(grey))
    assert (moved.amax(1) - moved.amin(1)).max() < 1 / 255


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_flat_picture_gets_the_mean_colour(value: float) -> None:
    target = images.read(painting()).pixels
    moved = transferred(torch.full((1, 3, 8, 8), value), colors(target))
    torch.testing.assert_close(moved.mean((2, 3)), target.mean((2, 3)), atol=1e-3, rtol=0)


def test_a_picture_keeps_its_own_colours() -> None:
    picture = images.read(photo()).pixels
    assert (transferred(picture, colors(picture)) - picture).abs().max() < 4 / 255
