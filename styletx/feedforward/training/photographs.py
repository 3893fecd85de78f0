"""The photographs that a network is trained on, and those that it is measured on."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from styletx import images
from styletx.errors import PictureError, StyletxError, TrainingError, field
from styletx.options import TrainingOptions

ATTEMPTS = 20  # photographs to try before giving up on an item


class Crops(Dataset[tuple[Tensor, list[str]]]):
    """Random crops of photographs, an endless sequence.

    Args:
        paths: the photographs.
        crop: side of a crop, px.
        seed: together with an item's index, decides which part of which photograph the item is.
    """

    def __init__(self, paths: Sequence[Path], crop: int, seed: int) -> None:
        self.paths = paths
        self.seed = seed
        # From a detail to most of the picture, so that a network learns objects of many sizes.
        self.augment = v2.Compose(
            [
                v2.RandomResizedCrop(crop, scale=(0.2, 1.0), ratio=(0.8, 1.25), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            ]
        )

    def __getitem__(self, index: int) -> tuple[Tensor, list[str]]:
        """Item `index`: `[3, crop, crop]` in [0, 1], and the photographs that were tried and could not be read.

        If hardly any can be read, the crop is empty: an error would bring the traceback of the process that reads.
        """
        bad: list[str] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((self.seed * 1_000_000_007 + index) % 2**63)
            for _ in range(ATTEMPTS):
                path = self.paths[int(torch.randint(len(self.paths), ()))]
                try:
                    return self.augment(images.read(path).pixels[0]), bad
                except StyletxError:
                    bad.append(path.name)
        return torch.empty(0), bad

    @staticmethod
    def collate(items: list[tuple[Tensor, list[str]]]) -> tuple[Tensor, tuple[str, ...]]:
        """A batch of items: `[B, 3, crop, crop]`, empty if a crop is, and all that could not be read for it."""
        crops = [pixels for pixels, _ in items]
        return torch.stack(crops) if all(map(len, crops)) else torch.empty(0), tuple(
            name for _, bad in items for name in bad
        )


def split(photographs: Sequence[Path], options: TrainingOptions) -> tuple[dict[Path, Tensor], list[Path]]:
    """Photographs to measure on, with their pixels, and photographs to train on.

    Up to 8 photographs are held out, spread evenly over the names, the same ones each time.

    Raises:
        TrainingError: too few photographs, or none that can be read.
    """
    photographs = sorted(photographs)
    minimum = max(8, 2 * options.batch)
    if len(photographs) < minimum:
        raise TrainingError(
            f"{field('photos')}: {len(photographs)} photographs are too few to train on; give a folder of at least "
            f"{minimum}, preferably a thousand"
        )
    share = len(photographs) // min(8, len(photographs) // 8)
    held_out: dict[Path, Tensor] = {}
    for start in range(0, len(photographs) - share + 1, share):
        for path in photographs[start : start + share]:
            with contextlib.suppress(PictureError):
                pixels = images.read(path).pixels
                size = images.fit((pixels.shape[-2], pixels.shape[-1]), 2 * options.crop)
                held_out[path] = images.resize(pixels, size)
                break
    if not held_out:
        raise TrainingError(
            f"{field('photos')}: none of the photographs can be read; give a folder of JPEG or PNG photographs"
        )
    return held_out, [path for path in photographs if path not in held_out]
