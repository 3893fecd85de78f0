"""Pictures that tile: the photograph is made to go on at its edges, and painted beyond them, where strokes meet."""

from __future__ import annotations

import torch
from torch import Tensor

AXES = {"x": -1, "y": -2}
JUMP = 2  # times as different as neighbours are, from which the two edges of a photograph do not go on
MIRRORED = 1 / 6  # of a side, in which a photograph that does not go on fades into its other edge, mirrored
MARGIN = 1 / 16  # of a side that is painted twice, beyond one edge and at the other


def periodic(photo: Tensor, axes: str) -> Tensor:
    """A photograph, or a mask, `[1, C, H, W]`, whose edges go on at the opposite ones, along "x", "y" or "xy"."""
    for axis in (AXES[name] for name in axes):
        if _goes_on(photo, axis):
            continue
        length = photo.shape[axis]
        mirrored = photo.flip(axis)
        away = torch.arange(length).minimum(torch.arange(length - 1, -1, -1)) + 0.5  # from the nearer edge
        share = 0.5 * (1 - (away / (MIRRORED * length)).clamp_max(1))
        share = share * share * (3 - 4 * share) * 2  # flat at both ends
        photo = photo.lerp(mirrored, share.view(-1, 1) if axis == -2 else share)
    return photo


def beyond(photo: Tensor, axes: str) -> Tensor:
    """A photograph with its beginning once more after its end, `[1, 3, H + h, W + w]`."""
    for axis in (AXES[name] for name in axes):
        photo = torch.cat([photo, photo.narrow(axis, 0, _margin(photo.shape[axis]))], axis)
    return photo


def closed(painted: Tensor, axes: str) -> Tensor:
    """What was painted `beyond`, at any size, without that: it fades into the beginning, so that it goes on there."""
    for axis in (AXES[name] for name in axes):
        length = painted.shape[axis]
        own = min(length - 1, round(length / (1 + MARGIN)))
        share = (torch.arange(length - own, device=painted.device) + 0.5) / (length - own)
        beginning = painted.narrow(axis, 0, length - own)
        after = painted.narrow(axis, own, length - own)
        met = after.lerp(beginning, share.view(-1, 1) if axis == -2 else share)
        painted = torch.cat([met, painted.narrow(axis, length - own, 2 * own - length)], axis)
    return painted


def _margin(length: int) -> int:
    return max(1, round(MARGIN * length))


def _goes_on(photo: Tensor, axis: int) -> bool:
    last, first = photo.narrow(axis, photo.shape[axis] - 1, 1), photo.narrow(axis, 0, 1)
    return float((last - first).abs().mean()) <= JUMP * float(photo.diff(dim=axis).abs().mean())
