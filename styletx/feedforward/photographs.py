"""The photographs that a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from styletx import images
from styletx.errors import StyletxError

ATTEMPTS = 20  # other photographs that are tried in the place of a bad one


class Crops(Dataset[tuple[Tensor, list[str]]]):
    """Random crops of photographs, without end.

    Args:
        paths: the photographs.
        crop: side of a crop, px.
        seed: decides with an item's number which part of which photograph the item is.
    """

    def __init__(self, paths: Sequence[Path], crop: int, seed: int) -> None:
        self.paths = paths
        self.seed = seed
        # From a detail to most of the picture, so that a network meets objects of many sizes.
        self.augment = v2.Compose(
            [
                v2.RandomResizedCrop(crop, scale=(0.2, 1.0), ratio=(0.8, 1.25), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            ]
        )

    def __getitem__(self, index: int) -> tuple[Tensor, list[str]]:
        """Item `index`: `[3, crop, crop]` in [0, 1], and the photographs that could not be read for it.

        Where hardly any can be read the crop is empty, since an error would come with the traceback of its process.
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
        """A batch of items: `[B, 3, crop, crop]`, or nothing, and all that could not be read for it."""
        crops = [pixels for pixels, _ in items]
        return torch.stack(crops) if all(map(len, crops)) else torch.empty(0), tuple(
            name for _, bad in items for name in bad
        )
