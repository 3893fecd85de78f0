"""The photographs that a network is trained on, and those that it is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from styletx import colors, grain, images
from styletx.errors import PictureError, StyletxError, TrainingError, field
from styletx.files import shown
from styletx.notes import Note, Notes
from styletx.options import TrainingOptions

ATTEMPTS = 20  # photographs to try before giving up on an item
SCALE = (0.2, 1.0)  # share of a photograph that a crop shows
RATIO = (0.8, 1.25)  # width of a crop to its height
NOISE = 2.5 / 255  # standard deviation of the noise that a photograph gets at most, as a camera's sensor makes it
# Long side to short side beyond which no crop shows the least share.
LONGEST = RATIO[1] / SCALE[0]


class Crops(Dataset[tuple[Tensor, list[str]]]):
    """Random crops of photographs, an endless sequence.

    Args:
        paths: the photographs.
        crop: side of a crop, px.
        seed: together with an item's index, decides which part of which photograph the item is.
        painted: photograph to the file that shows how it was painted; None for photographs alone.
        palette: the colours that the network wants photographs in; None for their own.
        clouds: how much of them photographs get where they are flat, from 0 to 1.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        crop: int,
        seed: int,
        painted: Mapping[Path, Path] | None = None,
        palette: colors.Colors | None = None,
        clouds: float = 0,
    ) -> None:
        self.paths, self.painted, self.crop = paths, painted, crop
        self.seed, self.palette, self.clouds = seed, palette, clouds
        # From a detail to most of the picture, so that a network learns objects of many sizes; but strokes have one.
        part = v2.RandomCrop(crop) if painted else v2.RandomResizedCrop(crop, scale=SCALE, ratio=RATIO, antialias=True)
        self.part = v2.Compose([part, v2.RandomHorizontalFlip()])

    def __getitem__(self, index: int) -> tuple[Tensor, list[str]]:
        """Item `index`: `[1, 3, crop, crop]` as a network takes it, and the photographs that gave no crop.

        With what was painted, it is `[2, 3, crop, crop]`: the photograph, and the same part as it was painted.
        If hardly any gives one, the crop is empty: an error would bring the traceback of the process that reads.
        """
        bad: list[str] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((self.seed * 1_000_000_007 + index) % 2**63)
            for _ in range(ATTEMPTS):
                path = self.paths[int(torch.randint(len(self.paths), ()))]
                try:
                    whole = self._whole(path)
                    part = self.part(whole)
                except StyletxError:
                    bad.append(path.name)
                    continue
                photograph = part[:1] + NOISE * float(torch.rand(())) * torch.randn_like(part[:1])
                photograph.clamp_(0, 1)
                if self.palette:  # as if the network were given the whole photograph, of which a crop shows a part
                    photograph = colors.moved(photograph, colors.move(whole[:1], self.palette))
                return torch.cat([grain.added(photograph, index, in_place=True), part[1:]]), bad
        return torch.empty(0), bad

    def _whole(self, path: Path) -> Tensor:
        photograph = readable(path)
        if self.painted is None:
            return grain.clouded(photograph, self.seed, self.clouds)
        painted = images.read(self.painted[path]).pixels
        if min(painted.shape[-2:]) < self.crop:
            raise PictureError(f"{shown(path)} is too thin for a crop as it was painted")
        photograph = images.resize(photograph, (painted.shape[-2], painted.shape[-1]))
        # As it was given to the optimisation.
        return torch.cat([grain.clouded(photograph, self.seed, self.clouds), painted])

    @staticmethod
    def collate(items: list[tuple[Tensor, list[str]]]) -> tuple[Tensor, tuple[str, ...]]:
        """A batch of items: `[B, 1 or 2, 3, crop, crop]`, empty if a crop is, and all that gave no crop for it."""
        crops = [pixels for pixels, _ in items]
        return torch.stack(crops) if all(map(len, crops)) else torch.empty(0), tuple(
            name for _, bad in items for name in bad
        )


def readable(path: Path) -> Tensor:
    """A photograph `[1, 3, H, W]` to train on.

    Raises:
        PictureError: it cannot be read, or is so long and thin that it gives no crop.
    """
    pixels = images.read(path).pixels
    height, width = pixels.shape[-2:]
    if max(height, width) > LONGEST * min(height, width):
        raise PictureError(f"{shown(path)}: {width}×{height} px is too long and thin for a crop; cut it into parts")
    return pixels


def split(photographs: Sequence[Path], options: TrainingOptions) -> tuple[dict[Path, Tensor], list[Path], Notes]:
    """Photographs to measure on, with their pixels, photographs to train on, and notes on any that are left out.

    Up to 8 photographs are held out, spread evenly over the names, the same ones each time.

    Raises:
        TrainingError: too few photographs, or none that can be used.
    """
    photographs = sorted(photographs)
    minimum = max(8, 2 * options.batch)
    if len(photographs) < minimum:
        raise TrainingError(
            f"{field('photos')}: {len(photographs)} are too few to train on; give a folder of at least "
            f"{minimum}, preferably a thousand"
        )
    share = len(photographs) // min(8, len(photographs) // 8)
    held_out: dict[Path, Tensor] = {}
    left_out: dict[Path, Note] = {}
    for start in range(0, len(photographs) - share + 1, share):
        for path in photographs[start : start + share]:
            try:
                pixels = readable(path)
            except PictureError as error:
                left_out[path] = Note(f"Left out: {error.args[0]}.")
                continue
            size = images.fit((pixels.shape[-2], pixels.shape[-1]), 2 * options.crop)
            held_out[path] = images.resize(pixels, size)
            break
    if not held_out:
        first = next(iter(left_out.values())).message.removeprefix("Left out: ").rstrip(".")
        raise TrainingError(f"{field('photos')}: none of the photographs can be used, the first because {first}")
    rest = [path for path in photographs if path not in held_out and path not in left_out]
    return held_out, rest, tuple(left_out.values())
