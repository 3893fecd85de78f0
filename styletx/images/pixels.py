"""Sizes, resizing, and tensors → 8- or 16-bit values."""

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch import Tensor

STRIP = 512  # rows that are converted at a time


def fit(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Scales a size (H, W) so that its longer side is `long_side`; the shorter is rounded and at least 1."""
    longest = max(size)
    height, width = (max(1, (2 * side * long_side + longest) // (2 * longest)) for side in size)
    return height, width


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes [B,C,H,W] to [B,C,h,w] by Lanczos' kernel, clamped to [0,1]; as it is if it fits.

    Sharpness is style: next to Lanczos, bicubic blurs a painting so far that its Gram matrix at relu1_1 is a
    different one. Pillow does it, in float32, since torch has no such kernel.
    """
    height, width = size
    if pixels.shape[-2:] == (height, width):
        return pixels
    planes = pixels.detach().float().flatten(0, 1).cpu().numpy()
    resized = [
        np.asarray(PIL.Image.fromarray(plane).resize((width, height), PIL.Image.Resampling.LANCZOS)) for plane in planes
    ]
    return torch.from_numpy(np.stack(resized)).clamp_(0, 1).view(*pixels.shape[:2], height, width).to(pixels.device)


def to_pil(pixels: Tensor, alpha: Tensor | None = None) -> PIL.Image.Image:
    """An 8-bit PIL image, RGB or with alpha RGBA, rounded to the nearest value.

    Args:
        pixels: [1,3,H,W] or [3,H,W] in [0,1]; values outside are clipped.
        alpha: [1,1,H,W] or [1,H,W] in [0,1].
    """
    return PIL.Image.fromarray(quantised(pixels, alpha, 8))


def quantised(pixels: Tensor, alpha: Tensor | None, bits: int) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Values [H,W,3], or [H,W,4] with alpha, rounded to 8 or 16 bits; takes what `to_pil` takes."""
    planes = pixels.detach().reshape(-1, *pixels.shape[-2:])
    if alpha is not None:
        planes = torch.cat([planes, alpha.detach().to(planes).reshape(-1, *alpha.shape[-2:])])
    values = np.empty((*planes.shape[1:], planes.shape[0]), np.uint8 if bits == 8 else np.uint16)
    # In strips, since of a large picture a second and third copy in float32 would be too much.
    for start in range(0, planes.shape[1], STRIP):
        strip = planes[:, start : start + STRIP].float().clamp(0, 1).mul(2**bits - 1).round_()
        values[start : start + STRIP] = strip.permute(1, 2, 0).cpu().numpy()
    return values
