"""Notices a training that diverges, before it has cost many steps."""

from __future__ import annotations

import math

DIVERGED = 4.0  # times the lowest loss: a healthy training does not climb that far back
SMOOTHING = 0.95  # of the loss that is watched


class Watch:
    """Watches a training's smoothed loss.

    Attributes:
        smoothed: the loss, averaged over about the last 20 steps.
        lowest: the lowest it has been since the warm-up.
    """

    def __init__(self) -> None:
        self.smoothed = self.lowest = math.inf

    def diverges(self, total: float, is_warm: bool) -> bool:
        """Add a step's loss, unless it shows that the training diverges.

        Args:
            total: the loss.
            is_warm: whether the warm-up is over; until then the average means little.
        """
        smoothed = total if self.smoothed == math.inf else SMOOTHING * self.smoothed + (1 - SMOOTHING) * total
        if not smoothed <= DIVERGED * self.lowest:  # also if it is not a number
            return True
        self.smoothed = smoothed
        if is_warm:
            self.lowest = min(self.lowest, smoothed)
        return False
