"""Measures the shortest command on the bundled compact network: its time in units of the full VGG-19, its results.

    python benchmarks/compact.py time     the whole process at 512×384 px, in T
    python benchmarks/compact.py pairs    every photograph with every painting at 512 px with Gram alone, judged

T is one float32 forward and backward pass of torchvision's VGG-19 to relu5_1 at 512×384, with respect to the picture
only, in the memory layout that is quicker here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import measure
import torch
import torchvision

RELU5_1 = 30  # how many of torchvision's VGG-19 modules reach it


def run(content: Path, style: Path, output: Path, size: int, *more: str) -> float:
    """Seconds of the whole process, from start to file, of the command as a person types it."""
    command = [sys.executable, "-m", "styletx", "run", str(content), str(style), "-q", "-o", str(output)]
    command += ["--size", str(size), *more]
    # An empty cache, so that the network is the bundled one even where the full one was fetched.
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"STYLETX_CACHE": cache, "STYLETX_OFFLINE": "1"})
        return time.perf_counter() - start


def full_pass_seconds(size: int, count: int = 5) -> float:
    """T: the median of several passes."""
    medians = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = torchvision.models.vgg19(init_weights=False).features[:RELU5_1].requires_grad_(False)
        for parameter in network.parameters():
            parameter.normal_(0, 0.03)
        network = network.to(memory_format=layout)
        pixels = torch.rand(1, 3, size * 3 // 4, size).to(memory_format=layout).requires_grad_()
        seconds = []
        for _ in range(count + 1):
            start = time.perf_counter()
            torch.autograd.grad(network(pixels).sum(), pixels)
            seconds.append(time.perf_counter() - start)
        medians.append(statistics.median(seconds[1:]))
    return min(medians)


def time_in_passes(arguments: argparse.Namespace, folder: Path) -> None:
    """The whole process, and passes of the full network before and after it."""
    content, style = measure.landscape(arguments.size, folder)
    rows = []
    for _ in range(arguments.rounds):
        before = full_pass_seconds(arguments.size)
        whole = run(content, style, folder / "out.png", arguments.size)
        unit = (before + full_pass_seconds(arguments.size)) / 2
        alone = run(content, style, folder / "out.png", arguments.size, "--match", "0")
        rows.append((unit, whole, whole / unit, whole / alone))
    measure.print_table(("T, s", "whole process, s", "in T", "over Gram alone"), rows)
    medians = [statistics.median(row[place] for row in rows) for place in (2, 3)]
    print(f"median: {medians[0]:.1f} T, {medians[1]:.2f} × Gram alone")


def pairs(arguments: argparse.Namespace, folder: Path) -> None:
    """Every selected pair, judged."""
    judge = measure.judged(arguments)
    rows = []
    for content, style in measure.pairs(arguments):
        run(content, style, folder / "out.png", arguments.size, "--match", "0")
        figures = judge.measure(content, style, folder / "out.png", arguments.size)
        rows.append((content.stem, style.stem, figures.style, figures.content, figures.deep))
    measure.print_judged(("photograph", "painting", "style", "content", "deep"), rows)


def main(given: Sequence[str] | None = None) -> None:
    parts = {"time": time_in_passes, "pairs": pairs}
    parser = measure.parser(__doc__, parts)
    measure.add_pairs(parser)
    parser.add_argument("--rounds", type=int, default=4, help="for time")
    arguments = parser.parse_args(given)
    measure.print_machine()
    with tempfile.TemporaryDirectory() as work:
        parts[arguments.part](arguments, Path(work))


if __name__ == "__main__":
    main()
