"""The photographs that a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from styletx import images
from styletx.errors import StyletxError, TrainingError

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

        Raises:
            TrainingError: hardly any photograph can be read.
        """
        bad: list[str] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_000_007 + index)
            for _ in range(ATTEMPTS):
                path = self.paths[int(torch.randint(len(self.paths), ()))]
                try:
                    return self.augment(images.read(path).pixels[0]), bad
                except StyletxError:
                    bad.append(path.name)
        raise TrainingError(
            f"{ATTEMPTS} photographs in a row could not be read, {bad[-1]} the last; give a folder of photographs."
        )

    @staticmethod
    def collate(items: list[tuple[Tensor, list[str]]]) -> tuple[Tensor, tuple[str, ...]]:
        """A batch of items: `[B, 3, crop, crop]`, and all that could not be read for it."""
        return torch.stack([pixels for pixels, _ in items]), tuple(name for _, bad in items for name in bad)
