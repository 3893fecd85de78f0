"""Sheets and plots as pictures, drawn by matplotlib (`pip install 'styletx[plots]'`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from styletx.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from styletx.inspection.residual import Trunk

RESOLUTION = 100  # px per inch
SHOWN = 39  # maps on a sheet; with the photograph they make five rows of eight
LEAST = 1e-12  # activation that is drawn as bright as any; a map may hold nothing above 0
PLAIN, SKIPPING = "tab:red", "tab:blue"


def check() -> None:
    """Find out before any work whether plots can be drawn.

    Raises:
        OptionError: matplotlib is not installed, or is broken.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f"plots need matplotlib, which cannot be loaded ({error}); run: pip install 'styletx[plots]'"
        ) from error


def sheet(maps: Tensor, title: str, pixels: Tensor | None = None, shown: int = SHOWN) -> Tensor:
    """Draw the feature maps that vary most, each with its channel's number, after the photograph.

    Args:
        maps: `[C, h, w]`.
        title: printed above them.
        pixels: the photograph, `[1, 3, H, W]` in [0, 1], or None.
        shown: how many maps at most.

    Returns:
        The sheet, `[1, 3, H, W]` in [0, 1].

    Raises:
        OptionError: matplotlib is not installed.
    """
    strongest = (
        maps.flatten(1).std(1, correction=0).argsort(descending=True, stable=True)[:shown].sort().values.tolist()
    )
    tiles: list[tuple[str, Any, str | None]] = [(str(one), maps[one].numpy(), "magma") for one in strongest]
    if pixels is not None:
        tiles.insert(0, ("photograph", pixels[0].permute(1, 2, 0).cpu().numpy(), None))
    columns = min(len(tiles), max(4, math.ceil(math.sqrt(len(tiles) * 1.5))))
    rows = math.ceil(len(tiles) / columns)
    height = 1.15 * maps.shape[1] / maps.shape[2] + 0.22
    figure = _figure(1.2 * columns, height * rows + 0.5)
    figure.suptitle(title, fontsize=11)
    for place, (name, values, colours) in enumerate(tiles, 1):
        axes = figure.add_subplot(rows, columns, place)
        scale: dict[str, Any] = {} if colours is None else {"vmin": 0, "vmax": max(float(values.max()), LEAST)}
        axes.imshow(values, cmap=colours, interpolation="nearest", **scale)
        axes.set_title(name, fontsize=7, pad=2)
        axes.set_axis_off()
    return _drawn(figure)


def heat_map(gram: Tensor, title: str) -> Tensor:
    """Draw a Gram matrix, the most active channels first, and how similar each pair of channels is.

    Args:
        gram: `[C, C]`.
        title: printed above it.

    Returns:
        The plot, `[1, 3, H, W]` in [0, 1].

    Raises:
        OptionError: matplotlib is not installed.
    """
    check()
    from matplotlib.colors import LogNorm

    order = gram.diagonal().argsort(descending=True, stable=True)
    ordered = gram[order][:, order].abs().double()
    norms = ordered.diagonal().sqrt().clamp_min(1e-30)
    alike = ordered / norms[:, None] / norms[None, :]
    largest = max(float(ordered.max()), 1e-30)
    figure = _figure(9.4, 4.5)
    figure.suptitle(title, fontsize=11)
    panels: list[tuple[str, Tensor, dict[str, Any]]] = [
        ("Gram matrix: mean product of two channels", ordered, {"norm": LogNorm(largest * 1e-4, largest, clip=True)}),
        ("the same, relative to each channel's strength", alike, {"vmin": 0, "vmax": 1}),
    ]
    for place, (name, values, scale) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 2, place)
        drawn = axes.imshow(values.numpy(), cmap="magma", interpolation="nearest", **scale)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("channel, most active first", fontsize=8)
        axes.tick_params(labelsize=7)
        figure.colorbar(drawn, ax=axes, fraction=0.046).ax.tick_params(labelsize=7)
    return _drawn(figure)


def learning(trunks: Sequence[Trunk]) -> Tensor:
    """Plot how trunks with and without skip connections learnt, and which gradient reached each of their blocks.

    Args:
        trunks: as `residual.trunks` returns them.

    Returns:
        The plot, `[1, 3, H, W]` in [0, 1].

    Raises:
        OptionError: matplotlib is not installed.
    """
    figure = _figure(11, 3.8)
    curves, ends, norms = (figure.add_subplot(1, 3, place) for place in (1, 2, 3))
    depths = sorted({one.blocks for one in trunks})
    shades = {depth: 0.35 + 0.65 * place / max(1, len(depths) - 1) for place, depth in enumerate(depths)}
    for one in trunks:
        look: dict[str, Any] = {
            "color": SKIPPING if one.skip else PLAIN,
            "alpha": shades[one.blocks],
            "linewidth": 1.4,
            "label": f"{one.blocks} blocks, {'skip' if one.skip else 'plain'}",
        }
        window = max(1, len(one.errors) // 15)
        smoothed = np.convolve(one.errors, np.ones(window) / window, mode="valid")
        curves.plot(np.arange(window, len(one.errors) + 1), smoothed, **look)
        norms.plot(range(1, one.blocks + 1), one.gradients, marker=".", **look)
    for skip, colour in ((False, PLAIN), (True, SKIPPING)):
        chosen = [one for one in trunks if one.skip == skip]
        look = {"color": colour, "marker": "o", "label": "with skip connections" if skip else "plain"}
        ends.plot([one.blocks for one in chosen], [one.error for one in chosen], **look)
    curves.set(title="error during training", xlabel="step", ylabel="mean squared error", yscale="log")
    ends.set(title="error at the end", xlabel="blocks", yscale="log", xticks=depths)
    norms.set(title="gradient norm of each block, first step", xlabel="block, counted from the picture", yscale="log")
    for axes in (curves, ends, norms):
        axes.title.set_fontsize(9)
        axes.tick_params(which="both", labelsize=7)
        axes.legend(fontsize=7)
    return _drawn(figure)


def _figure(width: float, height: float) -> Figure:
    check()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=RESOLUTION, layout="constrained", facecolor="white")


def _drawn(figure: Figure) -> Tensor:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(drawn.copy()).permute(2, 0, 1)[None].float() / 255
