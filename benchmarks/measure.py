"""What the benchmarks share: the machine in words, the common pairs, and the independent judge."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import styletx
from styletx import devices

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
RELU3_1 = SHARED / "weights" / "vgg19-relu3_1.safetensors"
PAIRS = [
    (SHARED / "pairs/content" / f"{content}.jpg", SHARED / "pairs/styles" / f"{style}.jpg")
    for content in ("golden_gate", "tubingen")
    for style in ("shipwreck", "starry_night", "the_scream")
]


def load_judge() -> ModuleType:
    """The judge that measures written pictures without this project's code."""
    if "judge" not in sys.modules:
        specification = importlib.util.spec_from_file_location("judge", SHARED / "judge.py")
        if specification is None or specification.loader is None or not RELU3_1.exists():
            sys.exit(f"This benchmark needs the test data in {SHARED}, which is not here.")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        sys.modules["judge"] = module
    return sys.modules["judge"]


def print_machine() -> None:
    """Machine, versions and command, for the record."""
    print(f"machine: {devices.describe(torch.device('cpu'))}")
    print(f"versions: styletx {styletx.__version__}, torch {torch.__version__}, Python {platform.python_version()}")
    print(f"command: python {' '.join(sys.argv)}\n")


def print_table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A Markdown table."""
    header = list(header)
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        cells = (f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row)
        print("| " + " | ".join(cells) + " |", flush=True)
    print()
