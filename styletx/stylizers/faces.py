"""Faces in a photograph, found by MTCNN (Zhang et al. 2016), whose weights come with facenet-pytorch.

doi:10.1109/LSP.2016.2603342
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from styletx import images
from styletx.errors import OptionError, field

WORK = 1024  # px of the long side on which faces are sought at most
LEAST = 32  # px of a side that shows a face
SURE = 0.97  # how sure the network must be
WIDTH, HEIGHT = 1.15, 1.2  # of the oval around a face, to the box that was found
EDGE = 0.35  # of the oval's radius, in which it fades


def found(photo: Tensor) -> Tensor | None:
    """Where faces are in a photograph `[1, 3, H, W]`, `[1, 1, h, w]` from 0 to 1; None where there are none.

    Raises:
        OptionError: the detector is not installed.
    """
    size = (photo.shape[-2], photo.shape[-1])
    if min(size) < LEAST:
        return None
    small = images.resize(photo, images.fit(size, min(WORK, max(size))))
    boxes, chances = _detector().detect(images.to_pil(small.cpu()))
    if boxes is None:
        return None
    height, width = small.shape[-2:]
    rows, columns = torch.arange(height).view(-1, 1) + 0.5, torch.arange(width) + 0.5
    faces = torch.zeros(height, width)
    for (left, top, right, bottom), chance in zip(boxes, chances, strict=True):
        if chance >= SURE:
            across = (columns - (left + right) / 2) / (WIDTH * (right - left) / 2)
            down = (rows - (top + bottom) / 2) / (HEIGHT * (bottom - top) / 2)
            faces = faces.maximum(((1 - torch.hypot(across, down)) / EDGE).clamp(0, 1).float())
    return faces[None, None] if float(faces.max()) > 0 else None


@functools.cache
def _detector() -> Any:
    try:
        from facenet_pytorch import MTCNN
    except ImportError:
        raise OptionError(
            f"{field('keep_faces')} needs a face detector, and none is installed: pip install 'styletx[faces]'; or "
            f"give a mask by {field('detail')}"
        ) from None
    return MTCNN(keep_all=True, device="cpu")
