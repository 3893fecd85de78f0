"""The search for a picture, on objectives whose minima are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from styletx import images
from styletx.optimization import LBFGS, Adam, Objective, coarse_to_fine, optimize, pyramid_sizes
from styletx.optimization.loop import WINDOW
from styletx.optimization.pyramid import COARSEST_SIDE

SIDES = st.integers(16, 70_000)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


Losses = Callable[[Tensor], dict[str, Tensor]]


def with_gradient(losses: Losses) -> Objective:
    """What the search calls: losses, and the gradient of their total."""

    def objective(pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        pixels = pixels.detach().requires_grad_()
        with torch.enable_grad():
            found = losses(pixels)
            (gradient,) = torch.autograd.grad(found["total"], pixels)
        return {name: loss.detach() for name, loss in found.items()}, gradient

    return objective


def quadratic(target: Tensor, curvature: Tensor | float = 1.0) -> Losses:
    """A bowl around `target`, near one where the search starts."""

    def objective(pixels: Tensor) -> dict[str, Tensor]:
        total = (curvature * (pixels - target).square()).mean()
        return {"total": total, "content": total / 2, "style": total / 2, "tv": 0 * total}

    return objective


def slope(pixels: Tensor) -> dict[str, Tensor]:
    """An objective without a minimum: the picture keeps moving."""
    total = 1 + pixels.mean()
    return {"total": total, "content": total, "style": total, "tv": total}


# The pyramid


@given(SIDES, SIDES)
def test_pyramid_halves_down_to_what_still_shows_shapes(height: int, width: int) -> None:
    sizes = pyramid_sizes((height, width))
    assert sizes[-1] == (height, width)
    for (h, w), (above, beside) in itertools.pairwise(sizes):
        assert abs(above - 2 * h) <= 1 and abs(beside - 2 * w) <= 1
        assert min(h, w) >= images.MIN_SIDE
    coarsest = sizes[0]
    assert max(coarsest) < 2 * COARSEST_SIDE or min(coarsest) < 2 * images.MIN_SIDE
    assert len(sizes) == 1 or max(coarsest) >= COARSEST_SIDE


# L-BFGS


def dense_direction(pairs: list[tuple[np.ndarray, np.ndarray]], gradient: np.ndarray) -> np.ndarray:
    """−H g with the inverse Hessian written out (Nocedal & Wright 2006, equation 7.16)."""
    pairs = [(s, y) for s, y in pairs if s @ y > 0]
    s, y = pairs[-1]
    inverse = (s @ y) / (y @ y) * np.eye(len(gradient))
    for s, y in pairs:
        rho = 1 / (y @ s)
        left = np.eye(len(gradient)) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    return -inverse @ gradient


@pytest.mark.parametrize("history", [3, 20])
@pytest.mark.parametrize("lowest", [0.1, -3.0], ids=["convex", "saddle"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_direction_is_that_of_dense_bfgs(history: int, lowest: float, memory_format: torch.memory_format) -> None:
    shape, size = (1, 3, 3, 2), 18
    random = np.random.default_rng(4)
    basis, _ = np.linalg.qr(random.normal(size=(size, size)))
    hessian = basis @ np.diag(np.linspace(lowest, 3, size)) @ basis.T
    position = random.normal(size=size)

    def picture(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.copy()).view(shape).contiguous(memory_format=memory_format)

    method = LBFGS(history=history, first=0.05)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    skipped = 0
    for count in range(12):
        gradient = hessian @ position
        step = method.step(picture(position), picture(gradient)).reshape(-1).numpy()
        if count == 0:
            np.testing.assert_allclose(step, -0.05 * gradient / np.sqrt(np.mean(gradient**2)), rtol=1e-12)
        elif any(s @ y > 0 for s, y in pairs[-history:]):
            np.testing.assert_allclose(step, dense_direction(pairs[-history:], gradient), rtol=1e-8, atol=1e-12)
        # Not the step it proposed: any two pictures must do.
        moved = 0.3 * step + 0.2 * np.sqrt(np.mean(step**2)) * random.normal(size=size)
        pairs.append((moved, hessian @ moved))
        skipped += moved @ hessian @ moved <= 0
        position = position + moved
    assert (skipped > 0) == (lowest < 0)


def test_lbfgs_converges_where_plain_descent_cannot() -> None:
    target, start = 0.2 + 0.6 * uniform(1, 3, 6, 6), uniform(1, 3, 6, 6, seed=1)
    curvature = torch.logspace(-3, 1, 108, dtype=torch.float64).view(1, 3, 6, 6)
    objective = quadratic(target, curvature)
    *_, (losses, pixels) = optimize(with_gradient(objective), start, iterations=300)
    first = float(objective(start)["total"])
    assert losses["total"] < 1e-3 * first

    # Gradient descent with the best fixed step, as many times.
    plain = start.clone()
    for _ in range(300):
        plain -= curvature / 108 * (plain - target) * (2 * 108 / (2 * (10 + 1e-3)))
    assert losses["total"] < 0.1 * float(objective(plain)["total"])
    assert (pixels - target).abs()[curvature > 0.1].max() < 0.02


# Adam


def test_adam_is_that_of_torch() -> None:
    parameter = uniform(1, 3, 4, 5).requires_grad_()
    pixels = parameter.detach().clone()
    reference = torch.optim.Adam([parameter], lr=0.07, betas=(0.9, 0.99), eps=1e-12)
    method = Adam(rate=0.07)
    for seed in range(15):
        gradient = (uniform(1, 3, 4, 5, seed=seed) - 0.4) * 10.0 ** (seed % 5 - 4)
        parameter.grad = gradient.clone()
        reference.step()
        pixels = pixels + method.step(pixels, gradient)
        torch.testing.assert_close(pixels, parameter.detach(), rtol=1e-10, atol=1e-12)


# One scale


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_minimum_beyond_the_range_is_met_at_its_edge(optimizer: str) -> None:
    target = 3 * uniform(1, 3, 6, 6) - 1
    assert target.min() < 0 and target.max() > 1
    results = list(
        optimize(with_gradient(quadratic(target)), uniform(1, 3, 6, 6, seed=1), iterations=150, optimizer=optimizer)
    )
    for _, pixels in results:
        assert pixels.min() >= 0 and pixels.max() <= 1
    losses, pixels = results[-1]
    torch.testing.assert_close(pixels, target.clamp(0, 1), rtol=0, atol=0.01)
    least = float((target - target.clamp(0, 1)).square().mean())
    assert losses["total"] == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e6], ids=str)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for ever"])
def test_divergence_is_undone(optimizer: str, wrong: float, lasting: bool) -> None:
    target = 0.3 + 0.4 * uniform(1, 3, 6, 6)
    healthy = quadratic(target, torch.logspace(-2, 0, 36, dtype=torch.float64).view(6, 6))
    seen: list[float] = []

    def objective(pixels: Tensor) -> dict[str, Tensor]:
        losses = healthy(pixels)
        if len(seen) == 4 or (lasting and len(seen) > 4):
            losses["total"] = losses["total"] * wrong
        seen.append(losses["total"].item())
        return losses

    results = list(optimize(with_gradient(objective), uniform(1, 3, 6, 6, seed=1), iterations=25, optimizer=optimizer))
    assert len(results) == len(seen)
    for count, (losses, pixels) in enumerate(results, 1):
        assert losses["total"] == min(value for value in seen[:count] if math.isfinite(value))
        assert losses["total"] == pytest.approx(float(healthy(pixels)["total"]), rel=1e-12)
        assert pixels.isfinite().all() and pixels.min() >= 0 and pixels.max() <= 1
    assert (results[-1][0]["total"] < results[3][0]["total"]) == (not lasting)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_step_that_goes_a_little_wrong_is_no_result(optimizer: str) -> None:
    healthy = quadratic(uniform(1, 3, 6, 6))
    seen: list[tuple[float, Tensor]] = []

    def objective(pixels: Tensor) -> dict[str, Tensor]:
        # Worse by less than what counts as diverged, at every second step.
        losses = {name: loss * (1.3 if len(seen) % 2 else 1) for name, loss in healthy(pixels).items()}
        seen.append((losses["total"].item(), pixels.detach().clone()))
        return losses

    worse = 0
    for losses, pixels in optimize(
        with_gradient(objective), uniform(1, 3, 6, 6, seed=1), iterations=8, optimizer=optimizer
    ):
        total, picture = min(seen, key=lambda pair: pair[0])
        assert losses["total"] == total and torch.equal(pixels, picture)
        worse += seen[-1][0] > total
    assert worse > 0


def test_after_divergence_the_search_goes_on_from_the_best_with_half_a_step() -> None:
    target = 0.4 + 0.2 * uniform(1, 3, 6, 6)
    evaluated: list[Tensor] = []

    def objective(pixels: Tensor) -> dict[str, Tensor]:
        losses = quadratic(target)(pixels)
        evaluated.append(pixels.detach().clone())
        return {name: loss * (math.nan if len(evaluated) == 2 else 1) for name, loss in losses.items()}

    start = 0.3 + 0.4 * uniform(1, 3, 6, 6, seed=1)
    list(optimize(with_gradient(objective), start, iterations=3))
    downhill = (target - start) / (target - start).square().mean().sqrt()
    for picture, share in zip(evaluated, (0, 1, 0.5), strict=True):
        torch.testing.assert_close(picture, start + share * LBFGS().first * downhill, rtol=1e-9, atol=1e-12)


def test_gradient_that_is_no_number_leaves_the_best_picture() -> None:
    target = uniform(1, 3, 6, 6)
    calls = 0

    def objective(pixels: Tensor) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        losses = quadratic(target)(pixels)
        if calls == 4:
            losses["total"] = losses["total"] + 0 * (pixels - pixels.detach()).sum().sqrt()
        return losses

    results = list(optimize(with_gradient(objective), uniform(1, 3, 6, 6, seed=1), iterations=10))
    assert calls > 4
    assert all(pixels.isfinite().all() and math.isfinite(losses["total"]) for losses, pixels in results)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_losses_are_named_even_if_none_was_a_number(optimizer: str) -> None:
    start = uniform(1, 3, 6, 6)

    def objective(pixels: Tensor) -> dict[str, Tensor]:
        return {name: loss * math.nan for name, loss in quadratic(start / 2)(pixels).items()}

    results = list(optimize(with_gradient(objective), start, iterations=4, optimizer=optimizer))
    for losses, pixels in results:
        assert losses.keys() == {"total", "content", "style", "tv"}
        torch.testing.assert_close(pixels, start, rtol=0, atol=0)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_search_ends_when_the_picture_is_still(optimizer: str) -> None:
    start, calls = uniform(1, 3, 6, 6), []

    def objective(pixels: Tensor) -> dict[str, Tensor]:
        calls.append(pixels.detach().clone())
        return quadratic(start)(pixels)

    results = list(optimize(with_gradient(objective), start, iterations=1000, optimizer=optimizer))
    assert len(results) == len(calls) <= 50
    torch.testing.assert_close(results[-1][1], start, rtol=0, atol=0)


def test_best_picture_never_gets_worse_and_is_never_changed() -> None:
    target = uniform(1, 3, 8, 6)
    start = uniform(1, 3, 8, 6, seed=1)
    given = start.clone()
    kept = []
    for losses, pixels in optimize(with_gradient(quadratic(target, 5.0)), start, iterations=30, optimizer="adam"):
        assert not pixels.requires_grad
        kept.append((losses["total"], pixels, pixels.clone()))
    totals = [total for total, _, _ in kept]
    assert totals == sorted(totals, reverse=True) and totals[-1] < totals[0]
    for _, pixels, as_yielded in kept:
        assert torch.equal(pixels, as_yielded)
    assert torch.equal(start, given)


# All scales


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_steps_count_the_work(optimizer: str) -> None:
    sizes = [(16, 24), (32, 48), (64, 96)]
    evaluated: list[int] = []
    asked: list[tuple[int, int]] = []

    def objective_at(size: tuple[int, int], earlier: Tensor | None) -> Objective:
        asked.append(size)
        assert (earlier is None) == (len(asked) == 1)

        def objective(pixels: Tensor) -> dict[str, Tensor]:
            assert pixels.shape == (1, 3, *size)
            evaluated.append(size[0] * size[1])
            return slope(pixels)

        return with_gradient(objective)

    # Far enough from black: at a few hundredths an evaluation the picture does not get there.
    initial = 0.8 + 0.2 * uniform(1, 3, 40, 50).float()
    steps, kept = [], []
    for step in coarse_to_fine(objective_at, initial, sizes, iterations=4, optimizer=optimizer):
        steps.append((step, sum(evaluated)))
        kept.append(step.pixels.clone())
    assert asked == sizes
    for scale, size in enumerate(sizes):
        here = [step for step, _ in steps if step.scale == scale]
        assert [step.iteration for step in here] == list(range(1, here[0].iterations + 1))
        assert {(step.scales, step.iterations, tuple(step.pixels.shape)) for step in here} == {
            (3, len(here), (1, 3, *size))
        }
    assert steps[-1][0].iterations == 4
    for step, done in steps:
        assert step.progress == pytest.approx(done / sum(evaluated), rel=1e-9)
    assert steps[-1][0].progress == pytest.approx(1)
    assert all(torch.equal(step.pixels, as_yielded) for (step, _), as_yielded in zip(steps, kept, strict=True))


def test_each_scale_starts_from_the_last_one_enlarged() -> None:
    starts: list[Tensor] = []
    given: list[Tensor | None] = []

    def objective_at(size: tuple[int, int], earlier: Tensor | None) -> Objective:
        fresh = True
        given.append(earlier)

        def objective(pixels: Tensor) -> dict[str, Tensor]:
            nonlocal fresh
            if fresh:
                starts.append(pixels.detach().clone())
            fresh = False
            return quadratic(torch.full((1, 3, *size), 0.3))(pixels)

        return with_gradient(objective)

    initial = uniform(1, 3, 32, 32).float()
    steps = list(coarse_to_fine(objective_at, initial, [(16, 16), (32, 32)], iterations=5))
    last = [step for step in steps if step.scale == 0][-1]
    torch.testing.assert_close(starts[0], images.resize(initial, (16, 16)))
    torch.testing.assert_close(starts[1], images.resize(last.pixels, (32, 32)))
    assert given[0] is None and given[1] is not None and torch.equal(given[1], starts[1])
    assert (last.pixels - 0.3).abs().max() < (starts[0] - 0.3).abs().max()


def test_a_finer_scale_may_start_from_more_than_the_coarser_one() -> None:
    asked: list[tuple[int, ...]] = []

    def finer(painted: Tensor, size: tuple[int, int]) -> Tensor:
        asked.append((*painted.shape[-2:], *size))
        return torch.full((1, 3, *size), 0.25)

    def objective_at(size: tuple[int, int], earlier: Tensor | None) -> Objective:
        assert earlier is None or torch.equal(earlier, torch.full((1, 3, *size), 0.25))
        return with_gradient(quadratic(torch.full((1, 3, *size), 0.3)))

    list(coarse_to_fine(objective_at, uniform(1, 3, 32, 32).float(), [(8, 8), (16, 16)], iterations=1, finer=finer))
    assert asked == [(8, 8, 16, 16)]


def test_progress_counts_what_making_an_objective_takes() -> None:
    def objective_at(size: tuple[int, int], earlier: Tensor | None) -> Objective:
        return with_gradient(slope)

    initial = torch.full((1, 3, 8, 8), 0.5)
    steps = list(coarse_to_fine(objective_at, initial, [(8, 8), (16, 16)], iterations=2, preparation=3))
    work = [count * area for count, area in [(4, 64), (5, 64), (6, 64), (7, 64), (8, 64), (9, 64)]]
    coarse = (3 + 6) * 64
    whole = coarse + (3 + 2) * 256
    expected = [one / whole for one in work] + [(coarse + count * 256) / whole for count in (4, 5)]
    assert [step.progress for step in steps] == pytest.approx(expected)


def test_progress_rises_although_a_scale_settles_early() -> None:
    def objective_at(size: tuple[int, int], earlier: Tensor | None) -> Objective:
        return with_gradient(quadratic(torch.full((1, 3, *size), 0.9)) if size == (16, 16) else slope)

    initial = torch.full((1, 3, 16, 16), 0.9)
    steps = list(coarse_to_fine(objective_at, initial, [(16, 16), (32, 32)], iterations=WINDOW + 3))
    first = [step for step in steps if step.scale == 0]
    assert first[-1].iteration < first[-1].iterations
    progress = [step.progress for step in steps]
    assert progress == sorted(progress) and len(set(progress)) == len(progress)
    assert progress[-1] == pytest.approx(1)
