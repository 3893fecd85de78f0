"""The optimisation of a picture's own pixels, coarse to fine (Gatys et al. 2016).

Each scale starts from the result of the one before, enlarged, so that only the finer strokes are left to paint.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from styletx import images
from styletx.optimization.optimizers import OPTIMIZERS

Objective = Callable[[Tensor], tuple[dict[str, Tensor], Tensor]]
"""Called with pixels `[1, 3, h, w]`, returns scalar losses, "total" among them, and the gradient of "total"."""

COARSE_ITERATIONS = 3  # at the coarser scales for each at the last one: there they cost a quarter or less
SPARING = 1_000_000  # px of a scale above which there are fewer evaluations, by the root of how much larger it is
LEAST_ITERATIONS = 4
DIVERGED = 1.5  # times the best loss: further than a healthy step ever overshoots
WINDOW = 10  # evaluations over which a picture is watched for change
STILL = 0.25 / 255  # mean change of a pixel over a window: invisible, even a few times over


@dataclass(frozen=True)
class Step:
    """Where a run stands.

    Attributes:
        progress: share of the whole run's work that is done, from 0 to 1; the last step may stop short of 1.
        pixels: the best picture yet at this scale, `[1, 3, h, w]` in [0, 1], on the run's device; never changed later,
            but for a large picture that a trained style repaints in place.
        losses: of that picture: "total", "content", "style", "matching" and "tv". Empty for a trained style.
        scale: which scale of the pyramid, from 0, the coarsest.
        scales: how many there are.
        iteration: evaluations done at this scale, from 1.
        iterations: evaluations planned at this scale; fewer are done if the picture settles.
    """

    progress: float
    pixels: Tensor = field(repr=False)
    losses: dict[str, float] = field(default_factory=dict)
    scale: int = 0
    scales: int = 1
    iteration: int = 1
    iterations: int = 1

    def __repr__(self) -> str:
        height, width = self.pixels.shape[-2:]
        loss = f", loss {self.losses['total']:.4g}" if self.losses else ""
        scale = f"scale {self.scale + 1}/{self.scales}, " if self.scales > 1 else ""
        return f"<Step {self.progress:.0%}: {scale}{width}×{height} px{loss}>"


def coarse_to_fine(
    objective_at: Callable[[tuple[int, int], Tensor | None], Objective],
    initial: Tensor,
    sizes: Sequence[tuple[int, int]],
    *,
    iterations: int,
    coarse_iterations: int = COARSE_ITERATIONS,
    finer: Callable[[Tensor, tuple[int, int]], Tensor] = images.resize,
    preparation: float = 0.0,
    optimizer: str = "lbfgs",
    axes: Tensor | None = None,
) -> Iterator[Step]:
    """Optimise a picture over a pyramid of sizes.

    Args:
        objective_at: makes the objective for pictures of a size (h, w), given the coarser scale's result at that size;
            at the first scale there is none.
        initial: the picture to start from, `[1, 3, H, W]` in [0, 1], of any size, on the device to run on.
        sizes: (h, w) of each scale, coarse to fine.
        iterations: evaluations at the last scale; see `sparing`.
        coarse_iterations: at each of the others, for each at the last one.
        finer: makes what a scale starts from, given the coarser one's result and its own size (h, w).
        preparation: what making an objective takes, in evaluations of it.
        optimizer: a name in `OPTIMIZERS`.
        axes: of colour, see `LBFGS`; None for those of the channels.

    Yields:
        A `Step` after each evaluation.
    """
    pixels = initial
    del initial  # which may be large
    areas = [height * width for height, width in sizes]
    counts = [iterations * coarse_iterations] * (len(sizes) - 1) + [iterations]
    planned = [sparing(count, area) for count, area in zip(counts, areas, strict=True)]
    work = [(preparation + count) * area for count, area in zip(planned, areas, strict=True)]
    for scale, size in enumerate(sizes):
        pixels = (finer if scale else images.resize)(pixels, size).contiguous(memory_format=torch.channels_last)
        objective = objective_at(size, pixels if scale else None)
        steps = optimize(objective, pixels, iterations=planned[scale], optimizer=optimizer, axes=axes)
        for iteration, (losses, best) in enumerate(steps, 1):
            pixels = best
            progress = (sum(work[:scale]) + (preparation + iteration) * areas[scale]) / sum(work)
            yield Step(progress, pixels, losses, scale, len(sizes), iteration, planned[scale])


def sparing(iterations: int, area: int) -> int:
    """Evaluations at a scale of so many pixels, for so many at small ones.

    The more scales a picture has come through, the less is left to paint at the next, and the more it costs.
    """
    return max(min(iterations, LEAST_ITERATIONS), round(iterations * min(1.0, math.sqrt(SPARING / area))))


def optimize(
    objective: Objective, pixels: Tensor, *, iterations: int, optimizer: str = "lbfgs", axes: Tensor | None = None
) -> Iterator[tuple[dict[str, float], Tensor]]:
    """Optimise a picture at one size.

    Divergence is undone: when the loss is not finite or far above the best, the search continues from the best
    picture, with its memory cleared and a shorter step. It ends early when the picture no longer changes visibly.

    Args:
        objective: what to minimise.
        pixels: the picture to start from, `[1, 3, H, W]` in [0, 1].
        iterations: evaluations of the objective at most.
        optimizer: a name in `OPTIMIZERS`.
        axes: as in `coarse_to_fine`.

    Yields:
        After each evaluation, losses and pixels of the best picture yet.
    """
    begin = functools.partial(OPTIMIZERS[optimizer], None if axes is None else axes.to(pixels))
    method = begin()
    length = 1.0
    change, earlier = pixels.new_full((), math.inf), (pixels if iterations > WINDOW else None)
    best_losses, best_pixels, best_gradient = {"total": math.inf}, pixels, torch.zeros_like(pixels)
    for iteration in range(1, iterations + 1):
        found, gradient = objective(pixels)
        # The only time in an iteration that the host waits for the device.
        *values, changed = torch.stack([*found.values(), change]).tolist()
        losses = dict(zip(found, values, strict=True))
        if not losses["total"] <= DIVERGED * best_losses["total"]:
            pixels, gradient = best_pixels, best_gradient
            method = begin()
            length /= 2
            best_losses = losses | best_losses  # names them all, even if no evaluation was ever finite
        elif losses["total"] < best_losses["total"]:
            best_losses, best_pixels, best_gradient = losses, pixels, gradient
        yield best_losses, best_pixels
        if changed < STILL:
            return
        pixels = method.step(pixels, gradient).mul_(length).add_(pixels).clamp_(0, 1)
        if earlier is not None and iteration % WINDOW == 0:
            change, earlier = (pixels - earlier).abs().mean(), pixels
