"""What a training leaves to look at: sheets of samples, a log, and a plot of the losses."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch
from torch import Tensor

from styletx import files, images

GAP = 8  # px between the pictures of a sheet
LABEL = 32  # px that what they are takes above them


def write(
    folder: Path,
    step: int,
    losses: dict[str, float],
    rows: Sequence[Mapping[str, Tensor]],
    photographs: Mapping[str, float],
) -> None:
    """Write what a checkpoint leaves to look at.

    Args:
        folder: of the training.
        step: updates done; what a longer training left of later steps goes from the log.
        losses: of the held-out photographs.
        rows: for each of them, what a picture `[1, 3, H, W]` is, and the picture.
        photographs: the losses that they would have if they were left as they are.

    Raises:
        OutputError: a file cannot be written; one that was there is left as it was.
    """
    log = [record for record in read_log(folder / "log.jsonl") if record["step"] < step]
    log.append({"step": step, **losses})
    files.write(folder / "log.jsonl", "".join(json.dumps(one) + "\n" for one in log).encode())
    images.write(folder / f"samples-{step:06d}.png", sheet(rows))
    curve(folder / "curve.png", log, photographs)


def written(folder: Path) -> list[Path]:
    """The files in a folder that have names of what `write` leaves."""
    names = ("log.jsonl", "curve.png", "samples-*.png")
    return [path for name in names for path in folder.glob(name)]


def sheet(rows: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Rows of pictures `[1, 3, H, W]` under what they are, on one white sheet, two rows beside each other."""
    pictures = [picture for row in rows for picture in row.values()]
    height = max(picture.shape[-2] for picture in pictures) + GAP
    width = max(picture.shape[-1] for picture in pictures) + GAP
    columns = len(rows[0]) * min(2, len(rows))
    canvas = torch.ones(1, 3, LABEL + math.ceil(len(pictures) / columns) * height, columns * width)
    for index, picture in enumerate(pictures):
        top, left = LABEL + index // columns * height, index % columns * width
        canvas[..., top : top + picture.shape[-2], left : left + picture.shape[-1]] = picture
    labels = PIL.Image.new("L", (columns * width, LABEL), "white")
    font = PIL.ImageFont.load_default(LABEL / 2)
    for index, label in enumerate([*rows[0]] * min(2, len(rows))):
        PIL.ImageDraw.Draw(labels).text(((index + 0.5) * width, LABEL / 2), label, "black", font, "mm")
    canvas[..., :LABEL, :] = torch.from_numpy(np.asarray(labels, np.float32) / 255)
    return canvas


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


def curve(path: Path, records: Sequence[dict[str, Any]], photographs: Mapping[str, float]) -> None:
    """Plot the held-out photographs' losses over the steps, with the photographs' own, where the training began.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, colour in (("content", "tab:blue"), ("style", "tab:orange")):
        axes.plot([one["step"] for one in records], [one[name] for one in records], colour, marker="o", label=name)
        if photographs.get(name, 0.0) > 0:
            axes.axhline(photographs[name], color=colour, linestyle=":", label=f"{name} of the photographs themselves")
    axes.set(xlabel="step", ylabel="loss of held-out photographs", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    files.write(path, buffer.getvalue())
