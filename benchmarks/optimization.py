"""Measures the optimisation: its speed, its results, its convergence, its memory, and what surrounds it.

    python benchmarks/optimization.py iteration   an iteration against the bare network
    python benchmarks/optimization.py pairs       every photograph with every painting at 512 px, judged independently
    python benchmarks/optimization.py curves      distances over evaluations, L-BFGS against Adam, three scales and one
    python benchmarks/optimization.py precision   bfloat16 against float32
    python benchmarks/optimization.py memory      peak memory of a run at several sizes
    python benchmarks/optimization.py overhead    what a process spends outside its iterations

All are of Gram alone (--match 0), which the judge's distances are made for. Style is taken from relu1_1, relu2_1 and
relu3_1 and content from relu3_1, with the VGG-19 of the test data, else that in the cache, else the bundled compact
network; the table's heading says which.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import measure
import torch
from torch import Tensor

import styletx
from styletx import images
from styletx.optimization import pyramid
from styletx.options import OptionKeywords
from styletx.stylizers import OptimizingStylizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

PAIRS_ITERATIONS = 30  # with three times as many at 256 and 128 px: 58 evaluations of full size
MARKS = (5, 10, 20, 30, 40, 50, 60, 80, 100)  # evaluations at which the curves are judged


def load(arguments: argparse.Namespace, style: Path, **keywords: Unpack[OptionKeywords]) -> OptimizingStylizer:
    """A stylizer for a painting, on the device asked for."""
    options = dataclasses.replace(measure.network(arguments), size=arguments.size, device=arguments.device, match=0)
    stylizer = styletx.load_stylizer(style, options, **keywords)
    assert isinstance(stylizer, OptimizingStylizer)
    return stylizer


def bare_pass(stylizer: OptimizingStylizer, pixels: Tensor) -> None:
    """The bare network's forward and backward pass: no losses, the layers' gradients given."""
    pixels = pixels.detach().requires_grad_()
    features = list(stylizer.network(pixels).values())
    torch.autograd.grad(features, pixels, [torch.ones_like(one) for one in features])


@contextlib.contextmanager
def one_scale() -> Iterator[None]:
    """Runs begin at full size, without coarser scales."""
    with mock.patch.object(pyramid, "COARSEST_SIDE", 10**6):
        yield


def iteration(arguments: argparse.Namespace, folder: Path) -> None:
    """An iteration against the bare network at the same size and precision, in turn."""
    content, style = measure.landscape(arguments.size, folder)
    rows = []
    for precision in ("float32", "bfloat16"):
        stylizer = load(arguments, style, precision=precision, iterations=10**5)
        print(measure.described(stylizer))
        run = stylizer.start(content)
        pixels = run.photo.to(stylizer.device).contiguous(memory_format=torch.channels_last)
        with one_scale():
            steps = iter(run)
            next(steps)
        for _ in range(12):  # an iteration costs most when the memory of L-BFGS is full
            next(steps)
        bare, whole = [], []
        for _ in range(arguments.rounds):
            bare.append(measure.seconds(bare_pass, stylizer, pixels, device=arguments.device))
            whole.append(measure.seconds(next, steps, device=arguments.device))
        ratios = [one / other for one, other in zip(whole, bare, strict=True)]
        times = (statistics.median(bare), statistics.median(whole), statistics.median(ratios))
        rows.append((precision, *times, min(ratios), max(ratios)))
    print()
    measure.print_table(("precision", "bare pass, s", "iteration, s", "ratio, median", "least", "greatest"), rows)


def pairs(arguments: argparse.Namespace, folder: Path) -> None:
    """Every selected pair, judged."""
    judge = measure.judged(arguments)
    rows = []
    for content, style in measure.pairs(arguments):
        stylizer = load(arguments, style, precision="float32", iterations=PAIRS_ITERATIONS)
        run = stylizer.start(content)
        evaluations = sum(_full_size_share(step, run.size) for step in run)
        run.result.save(folder / "result.png")
        figures = judge.measure(content, style, folder / "result.png", arguments.size)
        rows.append((content.stem, style.stem, evaluations, figures.style, figures.content, figures.deep))
    print(f"{measure.described(stylizer)}\n")
    measure.print_judged(("photograph", "painting", "evaluations", "style", "content", "deep"), rows)


def curves(arguments: argparse.Namespace, folder: Path) -> None:
    """The first selected pair, judged on the way."""
    judge = measure.judged(arguments)
    content, style = measure.pairs(arguments)[0]
    rows = []
    for optimizer, scales in itertools.product(("lbfgs", "adam"), (3, 1)):
        stylizer = load(arguments, style, precision="float32", optimizer=optimizer, iterations=80)
        run = stylizer.start(content)
        evaluations, marks = 0.0, list(MARKS)
        with one_scale() if scales == 1 else contextlib.nullcontext():
            for step in run:
                evaluations += _full_size_share(step, run.size)
                if marks and evaluations >= marks[0] and step.scale == step.scales - 1:
                    marks = [mark for mark in marks if mark > evaluations]
                    images.write(folder / "step.png", step.pixels)
                    figures = judge.measure(content, style, folder / "step.png", arguments.size)
                    rows.append((optimizer, scales, evaluations, figures.style, figures.content, figures.deep))
    print(f"{measure.described(stylizer)}\n{content.stem}, {style.stem}\n")
    measure.print_table(("optimizer", "scales", "evaluations", "style", "content", "deep"), rows)


def precision(arguments: argparse.Namespace, folder: Path) -> None:
    """The first selected pair in both precisions."""
    judge = measure.judged(arguments)
    content, style = measure.pairs(arguments)[0]
    rows = []
    for name in ("float32", "bfloat16"):
        stylizer = load(arguments, style, precision=name)
        run = stylizer.start(content)
        seconds = measure.seconds(list, run, device=arguments.device)
        run.result.save(folder / "result.png")
        figures = judge.measure(content, style, folder / "result.png", arguments.size)
        rows.append((name, seconds, figures.style, figures.content, figures.deep))
    print(f"{measure.described(stylizer)}\n{content.stem}, {style.stem}\n")
    measure.print_table(("precision", "seconds", "style", "content", "deep"), rows)


def memory(arguments: argparse.Namespace, folder: Path) -> None:
    """Peak memory at several sizes, a process each."""
    rows = []
    for size in arguments.sizes:
        command = [sys.executable, __file__, "peak", "--size", str(size), "--device", arguments.device]
        command += ["--shared", str(arguments.shared)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append((f"{size}×{size * 3 // 4}", float(done.stdout.splitlines()[-1])))
    what = "of the process" if arguments.device == "cpu" else "on the device"
    measure.print_table(("size", f"peak memory {what}, MiB"), rows)


def peak(arguments: argparse.Namespace, folder: Path) -> None:
    """Peak memory of one run in this process, MiB."""
    content, style = measure.landscape(arguments.size, folder)
    for _ in load(arguments, style, iterations=12).start(content):
        pass
    if arguments.device.startswith("cuda"):
        print(torch.cuda.max_memory_allocated(arguments.device) / 2**20)
    else:
        import resource  # only where there is a Unix

        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def overhead(arguments: argparse.Namespace, folder: Path) -> None:
    """A whole process against its iterations alone."""
    content, style = measure.landscape(arguments.size, folder)
    command = [sys.executable, "-m", "styletx", "run", str(content), str(style), "-q", "-o", str(folder / "out.png")]
    command += ["--size", str(arguments.size), "--iterations", "1", "--device", arguments.device]
    command += ["--style-layers", measure.STYLE_LAYERS, "--content-layers", measure.CONTENT_LAYERS]
    if weights := measure.network(arguments).weights:
        command += ["--weights", weights]
    rows = []
    for _ in range(5):
        whole = measure.seconds(subprocess.check_call, command)
        run = load(arguments, style, iterations=1).start(content)
        inside = measure.seconds(list, run, device=arguments.device)
        rows.append((whole, inside, whole - inside))
    measure.print_table(("process, s", "its iterations, s", "outside, s"), rows)
    print(f"median outside iterations: {statistics.median(row[-1] for row in rows):.2f} s")


def _full_size_share(step: styletx.Step, size: tuple[int, int]) -> float:
    height, width = step.pixels.shape[-2:]
    return height * width / (size[0] * size[1])


def main(given: Sequence[str] | None = None) -> None:
    parts = {part.__name__: part for part in (iteration, pairs, curves, precision, memory, peak, overhead)}
    parser = measure.parser(__doc__, parts)
    measure.add_pairs(parser)
    measure.add_device(parser)
    parser.add_argument("--rounds", type=int, default=20, help="for iteration")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048], metavar="PX", help="for memory")
    arguments = parser.parse_args(given)
    measure.print_machine(arguments.device)
    with tempfile.TemporaryDirectory() as work:
        parts[arguments.part](arguments, Path(work))


if __name__ == "__main__":
    main()
