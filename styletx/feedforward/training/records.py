"""What a training leaves to look at: sheets of samples, a log, and a plot of the losses."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import files, images


def write(folder: Path, step: int, losses: dict[str, float], pictures: Sequence[Tensor]) -> None:
    """Write what a checkpoint leaves to look at.

    Args:
        folder: of the training.
        step: updates done; what a longer training left of later steps goes from the log.
        losses: of the held-out photographs.
        pictures: their repaintings, each `[1, 3, H, W]`.

    Raises:
        OutputError: a file cannot be written; one that was there is left as it was.
    """
    log = [record for record in read_log(folder / "log.jsonl") if record["step"] < step]
    log.append({"step": step, **losses})
    files.write(folder / "log.jsonl", "".join(json.dumps(one) + "\n" for one in log).encode())
    images.write(folder / f"samples-{step:06d}.png", sheet(pictures))
    curve(folder / "curve.png", log)


def written(folder: Path) -> list[Path]:
    """The files in a folder that have names of what `write` leaves."""
    names = ("log.jsonl", "curve.png", "samples-*.png")
    return [path for name in names for path in folder.glob(name)]


def sheet(pictures: Sequence[Tensor], columns: int = 4) -> Tensor:
    """Pictures `[1, 3, H, W]` of any sizes on one white sheet, `[1, 3, rows × H, columns × W]`."""
    height = max(picture.shape[-2] for picture in pictures)
    width = max(picture.shape[-1] for picture in pictures)
    padded = [
        F.pad(picture, (0, width - picture.shape[-1], 0, height - picture.shape[-2]), value=1.0) for picture in pictures
    ]
    padded += [torch.ones_like(padded[0])] * (-len(padded) % columns)
    rows = [torch.cat(padded[start : start + columns], dim=3) for start in range(0, len(padded), columns)]
    return torch.cat(rows, dim=2)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The measurements of a training so far, one for each checkpoint."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
            record = json.loads(line)
            records.append({name: float(record[name]) for name in ("total", "content", "style", "tv")})
            records[-1]["step"] = int(record["step"])
    return records


def curve(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Plot the held-out photographs' content and style losses over the steps.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name in ("content", "style"):
        axes.plot([one["step"] for one in records], [one[name] for one in records], marker="o", label=name)
    axes.set(xlabel="step", ylabel="loss of held-out photographs", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    files.write(path, buffer.getvalue())
