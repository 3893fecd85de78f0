"""What the benchmarks share: their arguments, the pictures, the network, the machine in words, and tables."""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import judge
import torch
from PIL import Image, ImageOps

import styletx
from styletx import Options, devices
from styletx.stylizers import Stylizer

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
ASSETS = ROOT / "assets"
# Every VGG-19 reaches these layers, the test data's too, so all of them do the same work.
STYLE_LAYERS, CONTENT_LAYERS = "relu1_1,relu2_1,relu3_1", "relu3_1"

Pair = tuple[Path, Path]
"""A photograph and a painting."""


def parser(description: str | None, parts: Iterable[str]) -> argparse.ArgumentParser:
    """The arguments that all benchmarks take: which part to run, and where the test data is."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("part", choices=list(parts))
    made.add_argument("--size", type=int, default=512, help="long side of the results, px (default: 512)")
    made.add_argument(
        "--shared",
        type=Path,
        default=SHARED,
        metavar="PATH",
        help="folder of test data, which adds pictures and networks where it exists (default: ../shared)",
    )
    return made


def add_pairs(made: argparse.ArgumentParser) -> None:
    """Arguments that select some of the pairs."""
    made.add_argument("--photographs", nargs="+", metavar="NAME", help="only these, by file name without its ending")
    made.add_argument("--paintings", nargs="+", metavar="NAME", help="only these, likewise")


def add_device(made: argparse.ArgumentParser) -> None:
    """The argument that says where to measure."""
    made.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:N or mps")


def pairs(arguments: argparse.Namespace) -> list[Pair]:
    """The selected pairs: each photograph of a collection with each painting of the same collection."""
    found = []
    for contents, styles in ((ASSETS / "content", ASSETS / "styles"), _shared_pairs(arguments)):
        found += [(content, style) for content in _pictures(contents) for style in _pictures(styles)]
    chosen = [
        (content, style)
        for content, style in found
        if (not arguments.photographs or content.stem in arguments.photographs)
        and (not arguments.paintings or style.stem in arguments.paintings)
    ]
    if not chosen:
        names = sorted({path.stem for pair in found for path in pair})
        sys.exit(f"no pair has these names; there are {', '.join(names)}")
    return chosen


def photographs(arguments: argparse.Namespace) -> list[Path]:
    """The project's photographs and those of the test data, which no training saw."""
    return [*_pictures(ASSETS / "content"), *_pictures(_shared_pairs(arguments)[0])]


def landscape(size: int, folder: Path) -> Pair:
    """A photograph of `size` by three quarters of it, made in `folder`, and a painting: the pair to measure time on."""
    with Image.open(ASSETS / "content" / "coffee.jpg") as file:
        ImageOps.fit(file.convert("RGB"), (size, size * 3 // 4)).save(folder / "coffee.png")
    return folder / "coffee.png", ASSETS / "styles" / "impasto.jpg"


def network(arguments: argparse.Namespace) -> Options:
    """The network and layers to measure with: the test data's VGG-19, else that in the cache, else the bundled one."""
    weights = arguments.shared / "weights" / "vgg19-relu3_1.safetensors"
    return Options(
        style_layers=STYLE_LAYERS, content_layers=CONTENT_LAYERS, weights=weights if weights.exists() else None
    )


def described(stylizer: Stylizer) -> str:
    """The network that a stylizer uses, in words."""
    about = stylizer.about
    weights = about["weights"]
    return f"network: {about['backbone']} ({weights['origin']}: {weights['file']}), {about['precision']}"


def print_machine(device: str = "cpu") -> None:
    """Machine, versions and command, for the record; indented, which Markdown shows line by line."""
    print(f"    machine: {devices.describe(torch.device(device))}")
    print(f"    versions: styletx {styletx.__version__}, torch {torch.__version__}, Python {platform.python_version()}")
    print(f"    command: python {' '.join(sys.argv)}\n")


def print_table(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """A Markdown table; None is shown as a dash."""
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        cells = ("–" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row)
        print("| " + " | ".join(cells) + " |", flush=True)
    print()


def print_judged(header: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """A table whose last three columns are the judge's figures, with their mean and greatest at its end."""
    empty = [""] * (len(header) - 4)
    figures = [[value for value in column if value is not None] for column in list(zip(*rows, strict=True))[-3:]]
    ends = [
        (name, *empty, *(function(column) if column else None for column in figures))
        for name, function in (("mean", statistics.mean), ("greatest", max))
    ]
    print_table(header, [*rows, *ends])


def judged(arguments: argparse.Namespace) -> judge.Judge:
    """The judge; which networks it measures with is printed."""
    found = judge.find(arguments.shared)
    print(f"{found.described}\n")
    return found


def seconds(call: Callable[..., object], *arguments: object, device: str = "cpu") -> float:
    """How long a call takes, until its device has finished."""
    synchronise(device)
    start = time.perf_counter()
    call(*arguments)
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def _shared_pairs(arguments: argparse.Namespace) -> tuple[Path, Path]:
    return arguments.shared / "pairs" / "content", arguments.shared / "pairs" / "styles"


def _pictures(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"))
