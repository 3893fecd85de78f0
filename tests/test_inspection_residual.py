"""What skip connections do: trunks that are trained with them and without."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styletx import inspection
from styletx.inspection import residual


def test_a_repainting_is_blurred_with_other_colours_and_dark_edges() -> None:
    pixels = residual.pictures(2, 16, torch.Generator().manual_seed(0))
    assert pixels.shape == (2, 3, 16, 16) and 0 <= pixels.min() < 0.2 and 0.8 < pixels.max() <= 1
    values = pixels.double().numpy()
    padded = np.pad(values, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    blurred = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(2, 3)).mean((-1, -2))
    grey = np.pad(values.mean(1), ((0, 0), (1, 1), (1, 1)), mode="reflect")
    across, down = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    expected = (blurred[:, [2, 0, 1]] - np.hypot(across, down)[:, None]).clip(0, 1)
    np.testing.assert_allclose(residual.repainted(pixels).numpy(), expected, atol=1e-5)


def test_trunks_are_summed_up_in_order() -> None:
    steps = [
        residual.TrunkStep(1, skip, step, error, (float(step),))
        for skip in (False, True)
        for step, error in enumerate([8.0, 4.0, 2.0, 1.0, 0.5], 1)
    ]
    plain, skip = inspection.trunks(steps)
    assert (plain.blocks, plain.skip, skip.skip) == (1, False, True)
    assert plain.errors == (8.0, 4.0, 2.0, 1.0, 0.5) and plain.error == 0.5 and plain.gradients == (1.0,)


def test_training_is_seeded_and_learns() -> None:
    def errors(seed: int, steps: int) -> list[float]:
        return [step.error for step in inspection.train_trunks([1], steps=steps, seed=seed) if step.skip]

    long = errors(0, 30)
    assert errors(0, 3) == long[:3] and errors(1, 3) != long[:3]
    assert np.mean(long[-5:]) < long[0] / 2


def test_without_skips_gradients_differ_from_block_to_block() -> None:
    plain, skip = inspection.trunks(inspection.train_trunks([24], steps=1))
    assert not plain.skip and skip.skip and len(plain.gradients) == len(skip.gradients) == 24
    spread = [max(one.gradients) / min(one.gradients) for one in (plain, skip)]
    assert spread[0] > 5 * spread[1]


def test_deep_trunks_learn_better_with_skips() -> None:
    plain, skip = inspection.trunks(inspection.train_trunks([12], steps=25))
    assert skip.error < 0.8 * plain.error


def test_a_plot_shows_both_kinds() -> None:
    trunks = [
        inspection.Trunk(blocks, skip, tuple(np.linspace(1, 0.1 + skip, 20)), 0.1 + skip, (1.0,) * blocks)
        for blocks in (2, 4)
        for skip in (False, True)
    ]
    drawn = inspection.learning(trunks)[0]
    assert drawn.shape == (3, 380, 1100)
    red = (drawn[0] > drawn[2] + 0.3).float().mean()
    blue = (drawn[2] > drawn[0] + 0.3).float().mean()
    assert red > 0.001 and blue > 0.001
    only = inspection.learning(trunks[::2])[0]
    assert (only[2] > only[0] + 0.3).float().mean() < 0.5 * blue


@pytest.mark.parametrize("depths", [[1], [1, 2]])
def test_every_depth_is_trained_plain_and_with_skips(depths: list[int]) -> None:
    kinds = [(one.blocks, one.skip) for one in inspection.trunks(inspection.train_trunks(depths, steps=1))]
    assert kinds == [(blocks, skip) for blocks in depths for skip in (False, True)]
