"""Measures the fast mode: pictures a second against a plain network, and one pass against the optimisation.

    python benchmarks/feedforward.py speed     bundled styles, full width and the baseline, at 512×512 and 1920×1080
    python benchmarks/feedforward.py quality   the objective of one pass and after up to 80 L-BFGS evaluations

The baseline is the network of Johnson et al. (2016) as it is usually written: eager float32, contiguous, 9×9 first
and last convolutions, widths 32, 64, 128, five residual blocks, 1.68 M parameters. No training saw the photographs.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import measure
import torch
from torch import Tensor, nn

from styletx import Options, images, optimization
from styletx.feedforward import models
from styletx.feedforward.networks import Layout, Transformer
from styletx.stylizers import OptimizingStylizer, TransformingStylizer, load_stylizer, optimizing

SIZES = ((512, 512), (1080, 1920))
FULL_WIDTH = Layout(widths=(32, 128))
EVALUATIONS = (10, 20, 40, 80)
PRECISIONS = ("float32", "bfloat16")


class Residual(nn.Module):
    """The baseline's residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layer(128, 128, 3), nn.ReLU(), *_layer(128, 128, 3))

    def forward(self, features: Tensor) -> Tensor:
        """F(x) + x."""
        bent: Tensor = self.layers(features)
        return features + bent


def baseline() -> nn.Module:
    """Johnson's network as it is usually written."""
    return nn.Sequential(
        *(*_layer(3, 32, 9), nn.ReLU(), *_layer(32, 64, 3, 2), nn.ReLU(), *_layer(64, 128, 3, 2), nn.ReLU()),
        *(Residual() for _ in range(5)),
        *(nn.Upsample(scale_factor=2), *_layer(128, 64, 3), nn.ReLU()),
        *(nn.Upsample(scale_factor=2), *_layer(64, 32, 3), nn.ReLU()),
        _layer(32, 3, 9)[0],
    )


def _layer(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, padding_mode="reflect")
    return convolution, nn.InstanceNorm2d(outputs, affine=True)


@torch.no_grad()  # and not inference mode, in which nothing can be sketched
def speed(arguments: argparse.Namespace) -> None:
    """Median seconds a picture, the networks taking turns so that a slow minute hits all alike."""
    plain = baseline()
    assert sum(parameter.numel() for parameter in plain.parameters()) == 1_679_235
    # One style is timed: after its painting, as any painting is, and by its own network.
    name = "starry-night"
    precisions = {precision: Options(device=arguments.device, precision=precision) for precision in PRECISIONS}
    guided = {precision: load_stylizer(name, options) for precision, options in precisions.items()}
    alone = {key: TransformingStylizer(models.bundled()[name], options) for key, options in precisions.items()}
    full = Transformer(FULL_WIDTH).to(arguments.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    networks: dict[str, Callable[[Tensor], object]] = {
        "baseline": plain.to(arguments.device),
        f"full width {FULL_WIDTH.widths}": lambda pixels: full(pixels.contiguous(memory_format=torch.channels_last)),
    }
    for what, stylizers in (("any painting", guided), ("trained for one", alone)):
        for precision, stylizer in stylizers.items():
            networks[f"{what}, {precision}"] = functools.partial(_paint, stylizer)
    rows = []
    for height, width in [(arguments.size, arguments.size)] if arguments.size else SIZES:
        seconds: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(arguments.rounds + 1):
            for name, paint in networks.items():
                pixels = torch.rand(1, 3, height, width, device=arguments.device)
                seconds[name].append(measure.seconds(paint, pixels, device=arguments.device))
        medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
        rows += [
            (f"{width}×{height}", name, 1 / median, medians["baseline"] / median) for name, median in medians.items()
        ]
    measure.print_table(("size", "network", "pictures a second", "times the baseline"), rows)


def _paint(stylizer: Any, pixels: Tensor) -> None:
    for _ in stylizer._repaint("a picture", pixels, in_place=False):
        pass


def quality(arguments: argparse.Namespace) -> None:
    """Mean objective of one pass, and of L-BFGS after so many evaluations, a row a style."""
    photographs = measure.photographs(arguments)[-arguments.photographs :]
    rows = []
    for name, path in models.bundled().items():
        painting = models.painting(path)
        assert painting is not None
        options = Options(size=arguments.size or 448, device=arguments.device)
        loop, network = OptimizingStylizer(images.read(painting), options), load_stylizer(name, options)
        once, searched, worth = [], [], []
        for photograph in photographs:
            picture = images.read(photograph)
            run = loop.start(picture)
            # What the loop would search at its last scale, were that the only one; no part of the library's front.
            photo = optimizing._framed(loop._recoloured(run.photo))
            losses = loop._objective(photo, optimizing.Goal(run.size, run.size), None, [])
            painted = optimizing._framed(network(picture).pixels)
            with torch.no_grad():
                once.append({key: float(loss) for key, loss in losses.losses(painted).items()})
            steps = optimization.optimize(losses, photo, iterations=max(EVALUATIONS), axes=loop._axes(photo))
            totals = [found["total"] for found, _ in steps]
            searched.append([totals[min(count, len(totals)) - 1] for count in EVALUATIONS])
            worth.append(sum(value > once[-1]["total"] for value in totals))
        means = [statistics.fmean(one[key] for one in once) for key in ("total", "style", "content", "matching")]
        curve = [statistics.fmean(values) for values in zip(*searched, strict=True)]
        rows.append((name, *means, *curve, statistics.fmean(worth)))
    losses_of = ("one pass", "its style", "its content", "its matching")
    measure.print_table(("style", *losses_of, *(f"L-BFGS {count}" for count in EVALUATIONS), "is worth"), rows)


def main(given: Sequence[str] | None = None) -> None:
    parts: dict[str, Callable[[argparse.Namespace], None]] = {"speed": speed, "quality": quality}
    parser = measure.parser(__doc__, parts)
    parser.set_defaults(size=None)
    measure.add_device(parser)
    parser.add_argument("--rounds", type=int, default=7, help="for speed")
    parser.add_argument("--photographs", type=int, default=2, help="for quality")
    arguments = parser.parse_args(given)
    measure.print_machine(arguments.device)
    parts[arguments.part](arguments)


if __name__ == "__main__":
    main()
