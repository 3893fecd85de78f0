"""The first engine: a picture's own pixels are optimised, coarse to fine (Gatys et al. 2016).

Large shapes settle on small pictures, where an evaluation is cheap; each larger scale starts from the last one
enlarged and only has the finer strokes left to paint.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from styletx import images

Objective = Callable[[Tensor], dict[str, Tensor]]

COARSEST_SIDE = 128  # long side in px below which shapes are too crude for a further scale to pay
COARSE_ITERATIONS = 3  # times as many at the coarser scales, where they cost a quarter or less
DIVERGED = 1.5  # times the best loss: further than a healthy step ever overshoots
WINDOW = 10  # evaluations over which a picture is watched for change
STILL = 0.25 / 255  # mean change of a pixel over a window that nobody sees, nor a few times as much


@dataclass(frozen=True)
class Step:
    """Where a run stands after one evaluation of its objective.

    Attributes:
        scale: which scale of the pyramid, from 0, the coarsest.
        scales: how many there are.
        iteration: evaluations done at this scale, from 1.
        iterations: evaluations planned at this scale; fewer are done if the picture settles.
        progress: share of the whole run's work that is done, from 0 to 1; the last step may stop short of 1.
        losses: "total", "content", "style" and "tv" of the best picture yet at this scale.
        pixels: that picture, `[1, 3, h, w]` in [0, 1], on the run's device; not changed later on.
    """

    scale: int
    scales: int
    iteration: int
    iterations: int
    progress: float
    losses: dict[str, float]
    pixels: Tensor


def pyramid(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes (h, w) to go through, coarse to fine, each twice the one before; the last is `size`."""
    sizes = [size]
    while max(sizes[0]) >= 2 * COARSEST_SIDE and min(sizes[0]) >= 2 * images.MIN_SIDE:
        height, width = sizes[0]
        sizes.insert(0, (round(height / 2), round(width / 2)))
    return sizes


def coarse_to_fine(
    objective_at: Callable[[tuple[int, int]], Objective],
    initial: Tensor,
    sizes: Sequence[tuple[int, int]],
    *,
    iterations: int,
    optimizer: str = "lbfgs",
) -> Iterator[Step]:
    """Optimise a picture over a pyramid of sizes.

    Args:
        objective_at: makes the objective for pictures of a size (h, w).
        initial: the picture to start from, `[1, 3, H, W]` in [0, 1], of any size, on the device to run on.
        sizes: (h, w) of each scale, coarse to fine.
        iterations: evaluations at the last scale; the others get `COARSE_ITERATIONS` times as many.
        optimizer: a name in `OPTIMIZERS`.

    Yields:
        A `Step` after each evaluation.
    """
    pixels = initial
    planned = [round(iterations * COARSE_ITERATIONS)] * (len(sizes) - 1) + [iterations]
    work = [count * height * width for count, (height, width) in zip(planned, sizes, strict=True)]
    for scale, size in enumerate(sizes):
        objective = objective_at(size)
        pixels = images.resize(pixels, size).contiguous(memory_format=torch.channels_last)
        steps = optimize(objective, pixels, iterations=planned[scale], optimizer=optimizer)
        for iteration, (losses, best) in enumerate(steps, 1):
            pixels = best
            progress = (sum(work[:scale]) + work[scale] * iteration / planned[scale]) / sum(work)
            yield Step(scale, len(sizes), iteration, planned[scale], progress, losses, pixels)


def optimize(
    objective: Objective, pixels: Tensor, *, iterations: int, optimizer: str = "lbfgs"
) -> Iterator[tuple[dict[str, float], Tensor]]:
    """Optimise a picture at one size.

    Divergence is undone: when the loss is not finite or far above the best, the search goes on from the best
    picture, with its memory cleared and a shorter step. It ends early when the picture no longer changes visibly.

    Args:
        objective: called with `[1, 3, H, W]`, returns scalar losses, of which "total" is minimised.
        pixels: the picture to start from, `[1, 3, H, W]` in [0, 1].
        iterations: evaluations of the objective at most.
        optimizer: a name in `OPTIMIZERS`.

    Yields:
        After each evaluation, losses and pixels of the best picture yet.
    """
    method = OPTIMIZERS[optimizer]()
    length = 1.0
    change, earlier = pixels.new_tensor(math.inf), pixels
    best_losses, best_pixels, best_gradient = {"total": math.inf}, pixels, torch.zeros_like(pixels)
    for iteration in range(1, iterations + 1):
        losses, gradient, changed = _evaluate(objective, pixels, change)
        if not losses["total"] <= DIVERGED * best_losses["total"]:
            pixels, gradient = best_pixels, best_gradient
            method = OPTIMIZERS[optimizer]()
            length /= 2
            best_losses = losses | best_losses  # names them all, even if no evaluation was ever finite
        elif losses["total"] < best_losses["total"]:
            best_losses, best_pixels, best_gradient = losses, pixels, gradient
        yield best_losses, best_pixels
        if changed < STILL:
            return
        pixels = method.step(pixels, gradient).mul_(length).add_(pixels).clamp_(0, 1)
        if iteration % WINDOW == 0:
            change, earlier = (pixels - earlier).abs().mean(), pixels


def _evaluate(objective: Objective, pixels: Tensor, change: Tensor) -> tuple[dict[str, float], Tensor, float]:
    pixels = pixels.detach().requires_grad_()
    with torch.enable_grad():
        losses = objective(pixels)
        (gradient,) = torch.autograd.grad(losses["total"], pixels)
    # The only time an iteration that the host waits for the device.
    *values, changed = torch.stack([*(loss.detach() for loss in losses.values()), change]).tolist()
    return dict(zip(losses, values, strict=True)), gradient, changed


class LBFGS:
    """Limited-memory BFGS steps without a line search (Nocedal 1980).

    On losses near one its steps are well scaled as they are, and a line search would spend evaluations to find
    that out; a step that does go wrong is undone by `optimize`.

    Args:
        history: how many earlier steps it remembers, each two pictures large.
        first: root mean square change of a pixel at the first step, when no curvature is known yet.
    """

    def __init__(self, history: int = 10, first: float = 0.02) -> None:
        self.first = first
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=history)
        self.previous: tuple[Tensor, Tensor] | None = None
        self.scale = torch.tensor(0.0)

    def step(self, pixels: Tensor, gradient: Tensor) -> Tensor:
        """What to add to the picture `[B, C, H, W]`, whose gradient this is."""
        position, slope = _flat(pixels), _flat(gradient)
        if self.previous is None:
            self.scale = self.first / slope.square().mean().sqrt().clamp_min(1e-30)
        else:
            self._remember(position - self.previous[0], slope - self.previous[1])
        self.previous = position, slope

        direction = slope.clone()
        projections = []
        for moved, bent, inverse in reversed(self.pairs):
            projection = inverse * moved.dot(direction)
            direction.addcmul_(bent, projection, value=-1)
            projections.append(projection)
        direction.mul_(self.scale)
        for (moved, bent, inverse), projection in zip(self.pairs, reversed(projections), strict=True):
            direction.addcmul_(moved, projection - inverse * bent.dot(direction))
        return _unflat(direction.neg_(), pixels)

    def _remember(self, moved: Tensor, bent: Tensor) -> None:
        curvature = moved.dot(bent)
        sharpness = bent.dot(bent)
        usable = curvature > 1e-10 * sharpness
        # A pair without positive curvature is kept with no effect, for to drop it the host would have to know.
        self.pairs.append((moved, bent, torch.where(usable, 1 / curvature, 0)))
        self.scale = torch.where(usable, curvature / sharpness, self.scale)


class Adam:
    """Adam steps (Kingma & Ba 2015).

    Args:
        rate: size of a step, in units of pixel values.
    """

    def __init__(self, rate: float = 0.03) -> None:
        self.rate = rate
        self.count = 0
        self.mean: Tensor | None = None
        self.variance: Tensor | None = None

    def step(self, pixels: Tensor, gradient: Tensor) -> Tensor:
        """What to add to the picture `[B, C, H, W]`, whose gradient this is."""
        self.count += 1
        if self.mean is None or self.variance is None:
            self.mean, self.variance = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.mean.lerp_(gradient, 0.1)
        self.variance.lerp_(gradient.square(), 0.01)
        mean = self.mean / (1 - 0.9**self.count)
        deviation = (self.variance / (1 - 0.99**self.count)).sqrt_()
        return mean.div_(deviation.add_(1e-12)).mul_(-self.rate)


OPTIMIZERS: dict[str, Callable[[], LBFGS | Adam]] = {"lbfgs": LBFGS, "adam": Adam}


def _flat(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 2, 3, 1).reshape(-1)


def _unflat(vector: Tensor, like: Tensor) -> Tensor:
    batch, channels, height, width = like.shape
    return vector.view(batch, height, width, channels).permute(0, 3, 1, 2)
