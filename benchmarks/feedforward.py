"""Measures the fast mode: pictures a second against a plain network, and one pass against the optimisation.

    python benchmarks/feedforward.py speed     bundled styles, full width and the baseline, at 512×512 and 1920×1080
    python benchmarks/feedforward.py quality   the objective of one pass and after up to 100 L-BFGS evaluations

The baseline is the network of Johnson et al. (2016) as it is usually written: eager float32, contiguous, 9×9 first
and last convolutions, widths 32, 64, 128, five residual blocks, 1.68 M parameters. No training saw the photographs.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import measure
import torch
from torch import Tensor, nn

from styletx import images, optimization
from styletx.feedforward import models
from styletx.feedforward.networks import Layout, Transformer
from styletx.feedforward.training.objective import TrainingObjective
from styletx.options import TrainingOptions

SIZES = ((512, 512), (1080, 1920))
FULL_WIDTH = Layout(widths=(32, 128))
EVALUATIONS = (10, 25, 50, 100)


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


@torch.inference_mode()
def speed(arguments: argparse.Namespace) -> None:
    """Median seconds a picture, the networks taking turns so that a slow minute hits all alike."""
    plain = baseline()
    assert sum(parameter.numel() for parameter in plain.parameters()) == 1_679_235
    # All bundled styles have one layout, so one of them is timed.
    path = next(iter(models.bundled().values()))
    rounded = models.read(path).network
    rounded.use(torch.bfloat16)
    networks: dict[str, tuple[nn.Module, torch.memory_format]] = {
        "baseline": (plain, torch.contiguous_format),
        f"full width {FULL_WIDTH.widths}": (Transformer(FULL_WIDTH), torch.channels_last),
        f"bundled ({path.stem}), float32": (models.read(path).network, torch.channels_last),
        f"bundled ({path.stem}), bfloat16": (rounded, torch.channels_last),
    }
    for network, layout in networks.values():
        network.to(arguments.device).to(memory_format=layout)  # type: ignore[call-overload]
    rows = []
    for height, width in [(arguments.size, arguments.size)] if arguments.size else SIZES:
        seconds: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(arguments.rounds + 1):
            for name, (network, layout) in networks.items():
                pixels = torch.rand(1, 3, height, width, device=arguments.device).to(memory_format=layout)
                seconds[name].append(measure.seconds(network, pixels, device=arguments.device))
        medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
        rows += [
            (f"{width}×{height}", name, 1 / median, medians["baseline"] / median) for name, median in medians.items()
        ]
    measure.print_table(("size", "network", "pictures a second", "times the baseline"), rows)


def quality(arguments: argparse.Namespace) -> None:
    """Mean objective of one pass, and of L-BFGS after so many evaluations, a row a style."""
    device = torch.device(arguments.device)
    photographs = measure.photographs(arguments)[-arguments.photographs :]
    size = arguments.size or 384
    rows = []
    for name, path in models.bundled().items():
        model = models.read(path)
        painting = _painting(arguments, model.about["style"])
        if painting is None:
            print(f"{name} is left out: its painting, {model.about['style']}, is part of the test data.\n")
            continue
        network = model.network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        training = model.about["training"]
        options = TrainingOptions(
            backbone="compact",
            pairs=0,
            size=training.get("size") or training["style_size"],
            style_weight=None if training.get("pairs") else training["style_weight"],
            content_weight=training["content_weight"],
        )
        objective = TrainingObjective(images.read(painting), options, device)
        once, searched = [], []
        for photograph in photographs:
            pixels = images.read(photograph).pixels
            pixels = images.resize(pixels, images.fit((pixels.shape[-2], pixels.shape[-1]), size)).to(device)
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            losses = objective.of(pixels)
            with torch.no_grad():
                painted = network(pixels).clamp(0, 1)
                once.append({key: float(loss) for key, loss in losses.losses(painted).items()})
            steps = [found for found, _ in optimization.optimize(losses, pixels, iterations=max(EVALUATIONS))]
            searched.append([steps[min(count, len(steps)) - 1]["total"] for count in EVALUATIONS])
        # The objective is the weighted mean of the losses; the table shows their weighted sum, as training reports it.
        weight = options.content_weight + options.style
        means = {key: statistics.fmean(one[key] for one in once) for key in ("total", "style", "content")}
        curve = [weight * statistics.fmean(values) for values in zip(*searched, strict=True)]
        rows.append((name, weight * means["total"], means["style"], means["content"], *curve))
    measure.print_table(
        ("style", "one pass", "its style", "its content", *(f"L-BFGS {count}" for count in EVALUATIONS)), rows
    )


def _painting(arguments: argparse.Namespace, name: str) -> Path | None:
    folders = (measure.ASSETS / "styles", arguments.shared / "pairs" / "styles")
    return next((folder / name for folder in folders if (folder / name).exists()), None)


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
