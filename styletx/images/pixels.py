"""Tensors → 8- or 16-bit values."""

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch import Tensor

STRIP = 512  # rows converted at a time


def to_pil(pixels: Tensor, alpha: Tensor | None = None) -> PIL.Image.Image:
    """An 8-bit PIL image, RGB, or RGBA if there is alpha; rounded to the nearest value.

    Args:
        pixels: [1,3,H,W] or [3,H,W] in [0,1]; values outside are clipped.
        alpha: [1,1,H,W] or [1,H,W] in [0,1].
    """
    return PIL.Image.fromarray(quantised(pixels, alpha, 8))


def on_white(image: PIL.Image.Image) -> PIL.Image.Image:
    """A picture as RGB, on white where it is transparent."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image).convert("RGB")


def quantised(pixels: Tensor, alpha: Tensor | None, bits: int) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Values [H,W,3], or [H,W,4] with alpha, rounded to 8 or 16 bits; see `to_pil` for the arguments."""
    planes = pixels.detach().reshape(-1, *pixels.shape[-2:])
    if alpha is not None:
        planes = torch.cat([planes, alpha.detach().to(planes).reshape(-1, *alpha.shape[-2:])])
    values = np.empty((*planes.shape[1:], planes.shape[0]), np.uint8 if bits == 8 else np.uint16)
    # In strips: further float32 copies of a large picture would take too much memory.
    for start in range(0, planes.shape[1], STRIP):
        strip = planes[:, start : start + STRIP].float().clamp(0, 1).mul(2**bits - 1).round_()
        strip = strip.to(torch.uint8) if bits == 8 else strip  # a quarter of the bytes to move from a GPU
        values[start : start + STRIP] = strip.permute(1, 2, 0).cpu().numpy()
    return values
