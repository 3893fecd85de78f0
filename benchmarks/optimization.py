"""Measures the optimisation loop: its speed, its results, its search, and what surrounds it.

    python benchmarks/optimization.py iteration   an iteration against the bare network
    python benchmarks/optimization.py pairs       six pairs at 512 px, judged independently
    python benchmarks/optimization.py curves      distances over evaluations, L-BFGS against Adam
    python benchmarks/optimization.py precision   bfloat16 against float32
    python benchmarks/optimization.py overhead    what a process spends outside its iterations

All use VGG-19 to relu3_1, style from relu1_1, relu2_1 and relu3_1, content from relu3_1.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import measure
import torch
from torch import Tensor

import styletx
from styletx import devices, images, optimization
from styletx.stylizers import OptimizingStylizer

SIZE = 512
PAIRS_ITERATIONS = 30  # with three times as many at 256 and 128 px: 58 evaluations of full size


def load(style: Path, **options: object) -> OptimizingStylizer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the weights end at relu3_1 is the point here
        return styletx.load_stylizer(style, weights=str(measure.RELU3_1), size=SIZE, **options)


def bare_pass(stylizer: OptimizingStylizer, pixels: Tensor) -> None:
    """The bare network's forward and backward: no losses, the layers' gradients given."""
    pixels = pixels.detach().requires_grad_()
    features = list(stylizer.network(pixels).values())
    torch.autograd.grad(features, pixels, [torch.ones_like(one) for one in features])


def iteration(rounds: int = 40) -> None:
    content, style = measure.PAIRS[0]
    rows = []
    for precision in ("float32", "bfloat16"):
        stylizer = load(style, precision=precision, iterations=10**5)
        picture = images.read(content)
        size = images.fit(picture.pixels.shape[-2:], SIZE)
        pixels = images.resize(picture.pixels, size).contiguous(memory_format=torch.channels_last)
        with mock.patch.object(optimization, "COARSEST_SIDE", SIZE):  # no coarser scale
            steps = stylizer.steps(picture, size)
            next(steps)
        # A full memory of L-BFGS is its dearest state.
        for _ in range(12):
            next(steps)
        bare, whole = [], []
        for _ in range(rounds if precision == "float32" else rounds // 4):
            bare.append(_seconds(bare_pass, stylizer, pixels))
            whole.append(_seconds(next, steps))
        ratios = [w / b for w, b in zip(whole, bare, strict=True)]
        rows.append(
            (
                precision,
                statistics.median(bare),
                statistics.median(whole),
                statistics.median(ratios),
                min(ratios),
                max(ratios),
            )
        )
    measure.print_table(("precision", "bare pass, s", "iteration, s", "ratio, median", "least", "most"), rows)


def pairs() -> None:
    judge = measure.load_judge()
    rows = []
    for content, style in measure.PAIRS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "result.png"
            run = load(style, iterations=PAIRS_ITERATIONS).start(content)
            evaluations = sum(_full_size_share(step, run.size) for step in run)
            run.result.save(path)
            judged = judge.judge(content, style, path, SIZE)
        rows.append((content.stem, style.stem, evaluations, judged["style"], judged["content"], judged["deep"]))
    rows.append(("mean", "", *(statistics.mean(row[i] for row in rows) for i in range(2, 6))))
    measure.print_table(("content", "style", "evaluations", "style", "content", "deep"), rows)


def curves() -> None:
    judge = measure.load_judge()
    content, style = measure.PAIRS[4]
    rows = []
    for optimizer, scales in (("lbfgs", 3), ("lbfgs", 1), ("adam", 3), ("adam", 1)):
        stylizer = load(style, optimizer=optimizer, iterations=80)
        picture = images.read(content)
        size = images.fit(picture.pixels.shape[-2:], SIZE)
        evaluations, marks = 0.0, [5, 10, 20, 30, 40, 50, 60, 80, 100]
        coarsest = optimization.COARSEST_SIDE if scales == 3 else SIZE
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(optimization, "COARSEST_SIDE", coarsest):
            for step in stylizer.steps(picture, size):
                evaluations += _full_size_share(step, size)
                if marks and evaluations >= marks[0] and step.scale == step.scales - 1:
                    marks = [mark for mark in marks if mark > evaluations]
                    path = Path(folder) / "step.png"
                    images.write(path, step.pixels)
                    judged = judge.judge(content, style, path, SIZE)
                    rows.append((optimizer, scales, evaluations, judged["style"], judged["content"]))
    measure.print_table(("optimizer", "scales", "evaluations", "style", "content"), rows)


def precision() -> None:
    judge = measure.load_judge()
    print(f"a convolution runs {devices.bfloat16_gain(torch.device('cpu')):.2f} times as fast in bfloat16 here\n")
    content, style = measure.PAIRS[1]
    rows = []
    for name in ("float32", "bfloat16"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "result.png"
            run = load(style, precision=name).start(content)
            seconds = _seconds(list, run)
            run.result.save(path)
            judged = judge.judge(content, style, path, SIZE)
        rows.append((name, seconds, judged["style"], judged["content"]))
    measure.print_table(("precision", "seconds", "style", "content"), rows)


def overhead() -> None:
    content, style = measure.PAIRS[1]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(5):
            command = [sys.executable, "-m", "styletx", "run", content, style, "-q", "--iterations", "1"]
            command += ["-o", f"{folder}/out.png", "--weights", measure.RELU3_1, "--size", str(SIZE)]
            whole = _seconds(subprocess.check_call, command)
            run = load(style, iterations=1).start(content)
            rows.append((whole, _seconds(list, run)))
    outside = [whole - inside for whole, inside in rows]
    header = ("process, s", "its iterations, s", "outside, s")
    measure.print_table(header, [(*row, rest) for row, rest in zip(rows, outside, strict=True)])
    print(f"median outside iterations: {statistics.median(outside):.2f} s")


def _full_size_share(step: styletx.Step, size: tuple[int, int]) -> float:
    height, width = step.pixels.shape[-2:]
    return height * width / (size[0] * size[1])


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    parts = {part.__name__: part for part in (iteration, pairs, curves, precision, overhead)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=parts)
    chosen = parser.parse_args().part
    measure.print_machine()
    parts[chosen]()
