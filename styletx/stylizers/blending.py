"""The stylizer that repaints a picture in several styles, each by itself, and blends what they paint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from styletx import images
from styletx.notes import Notes
from styletx.optimization import Step
from styletx.stylizers.base import Run, Stylizer, joined


class BlendingStylizer(Stylizer):
    """Repaints pictures in several styles, one after another, and shows each result by its share.

    Args:
        parts: stylizers, and the share of each, more than 0; they add up to 1.
    """

    is_gradual = False

    def __init__(self, parts: Sequence[tuple[Stylizer, float]]) -> None:
        self.parts = parts
        first, _ = parts[0]
        self.options, self.device = first.options, first.device
        self.styles = tuple(name for one, _ in parts for name in one.styles)
        self.sha256 = joined([one.sha256 for one, _ in parts])
        self.notes = tuple(dict.fromkeys(note for one, _ in parts for note in one.notes))

    def check(self, name: str, size: tuple[int, int]) -> Notes:
        """As `Stylizer.check`."""
        return tuple(note for one, _ in self.parts for note in one.check(name, size))

    def steps(self, run: Run) -> Iterator[Step]:
        """As `Stylizer.steps`; a step shows what is painted so far."""
        blend: Tensor | None = None
        for index, (one, share) in enumerate(self.parts):
            before = sum(earlier for _, earlier in self.parts[:index])
            for step in one.steps(dataclasses.replace(run, stylizer=one, is_shared=True)):
                painted = images.resize(step.pixels, run.size)
                shown = painted if blend is None else blend.lerp(painted, share / (before + share))
                yield Step((index + step.progress) / len(self.parts), shown)
            blend = shown

    @property
    def about(self) -> dict[str, Any]:
        """As `Stylizer.about`."""
        return {"method": "blend", "parts": [one.about for one, _ in self.parts]}
