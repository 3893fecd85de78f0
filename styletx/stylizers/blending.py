"""The stylizer that repaints a picture in several styles, each by itself, and puts together what they paint.

So what is painted in one region does not depend on the others, whatever their methods. Colours and statistics are
those of the region, and of it alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor

from styletx import images
from styletx.notes import Note, Notes
from styletx.optimization import Step
from styletx.stylizers import seams
from styletx.stylizers.base import Run, Stylizer, joined, stretched

FAINT = 1 / 255  # of a mask, up to which nothing of its style would be seen
AROUND, SHARE = 32, 0.2  # px around a region, and share of its length if that is more, that are painted with it
OVERLAP = 1.01  # that masks may add up to: what they share at their soft edges is seldom exact

Area = tuple[EllipsisType, slice, slice]  # of a picture `[1, C, H, W]`
EVERYWHERE: Area = (..., slice(None), slice(None))


class BlendingStylizer(Stylizer):
    """Repaints pictures in several styles, one after another, and shows each by its share or in its region.

    Args:
        parts: stylizers, each with its share from 0 to 1, or with a mask of its region, `[1, 1, h, w]`. The first one
            is seen wherever the others are not, and its own share does not count.
    """

    is_gradual = False

    def __init__(self, parts: Sequence[tuple[Stylizer, float | Tensor]]) -> None:
        self.parts = parts
        first, _ = parts[0]
        self.device = first.device
        # Where one is optimised, the others are in one pass only because they are trained.
        asked = (one.options for one, _ in parts if one.options.method != "one-pass")
        self.options = next(asked, first.options)
        self.styles = tuple(name for one, _ in parts for name in one.styles)
        self.sha256 = joined([one.sha256 for one, _ in parts])
        self.notes = tuple(dict.fromkeys(note for one, _ in parts for note in one.notes))

    def check(self, name: str, size: tuple[int, int]) -> Notes:
        """As `Stylizer.check`; notes if masks do not fit the photograph or one another."""
        notes = [note for one, _ in self.parts for note in one.check(name, size)]
        for one, share in self.parts[1:]:
            if isinstance(share, Tensor):
                notes += stretched(share, size, f"The mask of the region in {one.style}")
        if float(sum(self._shares(size), start=torch.zeros(1, 1, *size)).max()) > OVERLAP:
            notes.append(Note("Regions overlap; where they do, each is seen in part."))
        return tuple(dict.fromkeys(notes))

    def paint(self, run: Run) -> Iterator[Step]:
        """As `Stylizer.paint`; each part closes its own tile."""
        return self.steps(run)

    def steps(self, run: Run) -> Iterator[Step]:
        """As `Stylizer.steps`; a step shows what is painted so far."""
        shares = self._shares(run.size)
        total = sum(shares, start=torch.zeros(1, 1, *run.size)).clamp_min(1)
        base = blend = shown = run.photo
        for index, (one, mask) in enumerate(self.parts):
            part, area = dataclasses.replace(run, stylizer=one, is_shared=True), EVERYWHERE
            if isinstance(mask, Tensor):
                region = shares[index - 1] if run.region is None else shares[index - 1] * run.region
                if one.is_gradual and one.options.seamless is None:  # else it is quick, or meets itself at the edges
                    area = _around(region)
                part = dataclasses.replace(
                    part, photo=run.photo[area], region=region[area], whole=run.size, place=area[1:]
                )
            for step in one.paint(part):
                shown = images.resize(step.pixels, part.size).cpu()
                if index:
                    change = (shown - base[area]) * (shares[index - 1] / total)[area]
                    shown = blend.clone()
                    shown[area] += change
                yield Step((index + step.progress) / len(self.parts), shown)
            blend = shown
            base = blend if index == 0 else base

    def _shares(self, size: tuple[int, int]) -> list[Tensor]:
        """How much of each part but the first is seen, `[1, 1, H, W]`."""
        axes, found = self.options.seamless or "", list[Tensor]()
        for _, share in self.parts[1:]:
            if isinstance(share, Tensor):
                found.append(seams.periodic(images.resize(share, size), axes))
            else:
                found.append(torch.full((1, 1, 1, 1), share).expand(1, 1, *size))
        return found

    @property
    def about(self) -> dict[str, Any]:
        """As `Stylizer.about`."""
        return {"method": "blend", "parts": [one.about for one, _ in self.parts]}


def _around(region: Tensor) -> Area:
    """Where a region `[1, 1, H, W]` is, with its surroundings."""
    seen = region[0, 0] > FAINT
    return ..., _span(seen.any(1)), _span(seen.any(0))


def _span(seen: Tensor) -> slice:
    positions = torch.nonzero(seen).flatten().tolist() or [0]
    around = max(AROUND, round(SHARE * (positions[-1] - positions[0])))
    return slice(max(0, positions[0] - around), positions[-1] + 1 + around)
