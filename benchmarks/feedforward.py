"""Measures the fast mode: pictures a second against a plain network, and one pass against the optimisation.

    python benchmarks/feedforward.py speed     bundled styles, full width and the baseline, at 512×512 and 1920×1080
    python benchmarks/feedforward.py quality   the objective of one pass and after up to 100 L-BFGS evaluations

The baseline is the network of Johnson et al. (2016) as it is usually written: eager float32, contiguous, 9×9 first
and last convolutions, widths 32, 64, 128, five residual blocks, 1.68 M parameters. No training saw the photographs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import measure
import torch
from torch import Tensor, nn

from styletx import backbones, images, losses, optimization
from styletx.feedforward import files
from styletx.feedforward.network import Layout, Transformer

SIZES = ((512, 512), (1080, 1920))
FULL_WIDTH = Layout(widths=(32, 128))
EVALUATIONS = (10, 25, 50, 100)
PHOTOGRAPHS = (
    *sorted((measure.SHARED / "pairs/content").glob("*.jpg")),
    *sorted((measure.ROOT / "assets/content").glob("*.jpg")),
)


class Residual(nn.Module):
    """The baseline's residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layer(128, 128, 3), nn.ReLU(), *_layer(128, 128, 3))

    def forward(self, features: Tensor) -> Tensor:
        """F(x) + x."""
        return features + self.layers(features)


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
def speed(rounds: int) -> None:
    """Median seconds a picture, the networks taking turns so that a slow minute hits all alike."""
    plain = baseline()
    assert sum(parameter.numel() for parameter in plain.parameters()) == 1_679_235
    # All bundled styles have one layout, so one of them is timed.
    path = next(iter(files.bundled().values()))
    networks: dict[str, tuple[Callable[[Tensor], Tensor], torch.memory_format]] = {
        "baseline": (plain, torch.contiguous_format),
        f"full width {FULL_WIDTH.widths}": (
            Transformer(FULL_WIDTH).to(memory_format=torch.channels_last),
            torch.channels_last,
        ),
        f"bundled ({path.stem})": (files.read(path).network.to(memory_format=torch.channels_last), torch.channels_last),
    }
    rows = []
    for height, width in SIZES:
        seconds: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(rounds + 1):
            for name, (network, layout) in networks.items():
                pixels = torch.rand(1, 3, height, width).to(memory_format=layout)
                start = time.perf_counter()
                network(pixels)
                seconds[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
        rows += [
            (f"{width}×{height}", name, 1 / median, medians["baseline"] / median) for name, median in medians.items()
        ]
    measure.print_table(("size", "network", "pictures a second", "times the baseline"), rows)


def quality(styles: Sequence[str], size: int, photographs: int) -> None:
    """Mean objective of one pass, and of L-BFGS after so many evaluations, a row a style."""
    backbone = backbones.load("compact")
    seeing = backbone.module.to(memory_format=torch.channels_last)
    found = files.bundled()
    rows = []
    for name in styles or found:
        model = files.read(found[name])
        network = model.network.to(memory_format=torch.channels_last)
        training = model.about["training"]
        style = images.read(_style_picture(model.about["style"])).pixels
        style = images.resize(style, images.fit((style.shape[-2], style.shape[-1]), training["style_size"]))
        targets = losses.style_targets(seeing, style, backbone.architecture.style_layers)
        once, searched = [], []
        for path in PHOTOGRAPHS[:photographs]:
            pixels = images.read(path).pixels
            pixels = images.resize(pixels, images.fit((pixels.shape[-2], pixels.shape[-1]), size))
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            objective = losses.PerceptualLoss(
                seeing,
                losses.content_targets(seeing, pixels, backbone.architecture.content_layers),
                targets,
                content_weight=training["content_weight"],
                style_weight=training["style_weight"],
            )
            with torch.no_grad():
                once.append({key: float(loss) for key, loss in objective(network(pixels).clamp(0, 1)).items()})
            steps = [loss for loss, _ in optimization.optimize(objective, pixels, iterations=max(EVALUATIONS))]
            searched.append([steps[min(count, len(steps)) - 1]["total"] for count in EVALUATIONS])
        whole = training["content_weight"] + training["style_weight"]
        means = {key: statistics.fmean(one[key] for one in once) for key in ("total", "style", "content")}
        curve = [whole * statistics.fmean(one[index] for one in searched) for index in range(len(EVALUATIONS))]
        rows.append((name, whole * means["total"], means["style"], means["content"], *curve))
        measure.print_table(
            ("style", "one pass", "its style", "its content", *(f"L-BFGS {count}" for count in EVALUATIONS)), rows[-1:]
        )
    measure.print_table(
        ("style", "one pass", "its style", "its content", *(f"L-BFGS {count}" for count in EVALUATIONS)), rows
    )


def _style_picture(name: str) -> str:
    for folder in (measure.ROOT / "assets/styles", measure.SHARED / "pairs/styles"):
        if (folder / name).exists():
            return str(folder / name)
    raise SystemExit(f"The style picture {name} is not here.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "quality"))
    parser.add_argument("styles", nargs="*", help="of those bundled; all if none is named")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=384, help="long side of the photographs for quality, px")
    parser.add_argument("--photographs", type=int, default=len(PHOTOGRAPHS))
    arguments = parser.parse_args()
    measure.print_machine()
    if arguments.what == "speed":
        speed(arguments.rounds)
    else:
        quality(arguments.styles, arguments.size, arguments.photographs)


if __name__ == "__main__":
    main()
