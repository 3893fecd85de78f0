"""What happens to a painted picture before it is a result."""

from __future__ import annotations

import torch
from torch import Tensor

from styletx import images


def finish(painted: Tensor, photo: Tensor, strength: float) -> Tensor:
    """Bring a painted picture to its size and off the device, and let the photograph show through.

    Args:
        painted: `[1, 3, h, w]` in [0, 1], on any device.
        photo: the photograph at the result's size, `[1, 3, H, W]`, on the CPU.
        strength: how much of the painted picture shows over the photograph, from 0 to 1.

    Returns:
        `[1, 3, H, W]` float32 in [0, 1], contiguous, on the CPU.
    """
    size = (photo.shape[-2], photo.shape[-1])
    pixels = images.resize(painted, size).cpu().contiguous()
    return pixels if strength == 1 else torch.lerp(photo, pixels, strength)
