"""Whether a painting's own shapes may fill what is empty in a photograph."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from styletx import images
from styletx.losses.gram import gram_statistics, moments, relative_distance

SMALL = 256  # long side in px at which a painting is looked at as a whole
PARTS = 3  # across and down, whose statistics are compared with the whole's
TONES = 8  # of each colour channel, that colours are counted by
# A painting leads where its parts are alike and its colours are many. Between these figures it leads a little.
SPREAD = (0.30, 0.24)
ENTROPY = (3.3, 3.6)


def small(painting: Tensor) -> Tensor:
    """A painting `[1, 3, H, W]` at the size at which it is looked at as a whole; a smaller one as it is."""
    size = (painting.shape[-2], painting.shape[-1])
    return images.resize(painting, images.fit(size, min(SMALL, max(size))))


def lead(painting: Tensor, features: Sequence[Tensor]) -> float:
    """How far, from 0 to 1, a painting's shapes may lead where a photograph is empty, before anything is matched.

    A painting whose strokes are everywhere alike fills empty skies with its shapes. One of empty paper or of a few
    large objects would put those objects into the sky.

    Args:
        painting: `[1, 3, H, W]` in [0, 1], as `small` gives it.
        features: activations of the painting at some layers, `[1, C, h, w]` each.
    """
    spread = torch.stack([_spread(layer) for layer in features]).mean()
    return _ramp(float(spread), *SPREAD) * _ramp(_entropy(painting), *ENTROPY)


def _spread(features: Tensor) -> Tensor:
    """Mean relative distance of the Gram matrices of parts of a layer from the whole's."""
    whole = moments(gram_statistics(features)).gram
    rows = features.tensor_split(PARTS, dim=2)
    parts = [part for row in rows for part in row.tensor_split(PARTS, dim=3) if part.numel()]
    distances = [relative_distance(moments(gram_statistics(part)).gram, whole) for part in parts]
    return torch.stack(distances).mean()


def _entropy(pixels: Tensor) -> float:
    """Entropy in nats of a picture's colours, counted by `TONES` tones of each channel."""
    tones = (pixels[0] * TONES).long().clamp_max(TONES - 1)
    counts = torch.bincount((tones[0] * TONES**2 + tones[1] * TONES + tones[2]).flatten()).double()
    shares = counts[counts > 0] / counts.sum()
    return -float((shares * shares.log()).sum())


def _ramp(value: float, zero: float, one: float) -> float:
    """0 at and beyond `zero`, 1 at and beyond `one`, and straight between."""
    return min(1.0, max(0.0, (value - zero) / (one - zero))) if math.isfinite(value) else 0.0
