"""A run in a notebook: its picture gets finer in the cell, with a bar below, by HTML alone."""

from __future__ import annotations

import base64
import io
import time
from typing import TYPE_CHECKING

from styletx import images

if TYPE_CHECKING:
    from styletx.stylizers.base import Result, Run

SHOWN = 512  # px of the long side of what is shown
BETWEEN = 0.5  # seconds between two pictures


def html(run: Run) -> str:
    """What a cell shows of a run."""
    if run.last is None:
        return "<progress max=1 value=0></progress>"
    pixels = run.last.pixels
    size = (pixels.shape[-2], pixels.shape[-1])
    stream = io.BytesIO()
    images.to_pil(images.resize(pixels, images.fit(size, min(SHOWN, max(size))))).save(stream, "JPEG", quality=85)
    width = images.fit(run.size, min(SHOWN, max(run.size)))[1]
    source = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
    bar = (
        ""
        if run.is_finished
        else f"<br><progress max=1 value={run.last.progress:.3f} style='width:{width}px'></progress>"
    )
    return f"<img width={width} src='{source}'>{bar}"


def show(run: Run) -> Result:
    """Paint a run to its end, and show it in the cell meanwhile."""
    from IPython.display import HTML, display

    cell, latest = display(HTML(html(run)), display_id=True), time.monotonic()
    for _ in run:
        if time.monotonic() - latest > BETWEEN:
            cell.update(HTML(html(run)))
            latest = time.monotonic()
    cell.update(HTML(html(run)))
    return run.result
