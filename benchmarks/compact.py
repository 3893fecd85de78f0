"""Measures the shortest command on the bundled compact network: its time in units of the full VGG-19, its results.

    python benchmarks/compact.py time      the whole process at 512 px, in T
    python benchmarks/compact.py pairs     six pairs at 512 px, judged independently
    python benchmarks/compact.py unseen    pictures that no training saw, judged likewise

T is one float32 forward and backward pass of torchvision's VGG-19 to relu5_1 at 512×384, with respect to the picture
only, in whichever memory layout is quicker here.
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

SIZE = 512
RELU5_1 = 30  # how many of torchvision's VGG-19 modules reach it
# Photographs and paintings that come with the project, none of which was trained on.
UNSEEN_CONTENT = sorted((measure.ROOT / "assets/content").glob("*.jpg"))
UNSEEN_STYLES = sorted((measure.ROOT / "assets/styles").glob("*.jpg"))


def run(content: Path, style: Path, output: Path) -> float:
    """Seconds of the whole process, from start to file, of the command as a person types it."""
    command = [sys.executable, "-m", "styletx", "run", content, style, "--size", str(SIZE), "-q", "-o", output]
    # An empty cache, so that the network is the bundled one even where the full one was fetched.
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"STYLETX_CACHE": cache, "STYLETX_OFFLINE": "1"})
        return time.perf_counter() - start


def full_pass_seconds(count: int = 5) -> float:
    """T: the median of several passes."""
    medians = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = torchvision.models.vgg19(init_weights=False).features[:RELU5_1].requires_grad_(False)
        for parameter in network.parameters():
            parameter.normal_(0, 0.03)
        network = network.to(memory_format=layout)
        pixels = torch.rand(1, 3, 384, SIZE).to(memory_format=layout).requires_grad_()
        seconds = []
        for _ in range(count + 1):
            start = time.perf_counter()
            torch.autograd.grad(network(pixels).sum(), pixels)
            seconds.append(time.perf_counter() - start)
        medians.append(statistics.median(seconds[1:]))
    return min(medians)


def time_in_passes() -> None:
    content, style = measure.PAIRS[1]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(4):
            before = full_pass_seconds()
            whole = run(content, style, Path(folder) / "out.png")
            unit = (before + full_pass_seconds()) / 2
            rows.append((unit, whole, whole / unit))
    measure.print_table(("T, s", "whole process, s", "in T"), rows)
    print(f"median: {statistics.median(row[2] for row in rows):.1f} T")


def judged(pairs: Sequence[tuple[Path, Path]]) -> None:
    judge = measure.load_judge()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for content, style in pairs:
            output = Path(folder) / "out.png"
            run(content, style, output)
            figures = judge.judge(content, style, output, SIZE)
            rows.append((content.stem, style.stem, figures["style"], figures["content"], figures["deep"]))
    rows.append(("mean", "", *(statistics.mean(row[i] for row in rows) for i in (2, 3, 4))))
    rows.append(("most", "", *(max(row[i] for row in rows[:-1]) for i in (2, 3, 4))))
    measure.print_table(("content", "style", "style", "content", "deep"), rows)


if __name__ == "__main__":
    parts = {
        "time": time_in_passes,
        "pairs": lambda: judged(measure.PAIRS),
        "unseen": lambda: judged([(content, style) for content in UNSEEN_CONTENT for style in UNSEEN_STYLES]),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=parts)
    chosen = parser.parse_args().part
    measure.print_machine()
    parts[chosen]()
