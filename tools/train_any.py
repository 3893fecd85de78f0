"""Train the network that paints any painting in one pass, from pictures of the optimisation.

    python tools/train_any.py pairs --photos DIR --paintings DIR [--each N]    # paint photographs; continues
    python tools/train_any.py train --photos DIR [--steps N] [--resume]        # writes runs/any/any.safetensors
    python tools/train_any.py sheet --photos DIR --paintings DIR               # what it paints, to look at

Everything is in runs/any. `pairs` may run on while `train` does, which looks for new pairs now and then. Photographs
and paintings are read from folders; docs/one-pass.md says which ones the bundled network has learnt from.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from styletx import devices, files, images  # noqa: E402
from styletx.feedforward import models  # noqa: E402
from styletx.feedforward.collages import Guide, lively, together  # noqa: E402
from styletx.feedforward.networks import Layout, Transformer  # noqa: E402
from styletx.feedforward.training.measuring import total  # noqa: E402
from styletx.feedforward.training.objective import TrainingObjective  # noqa: E402
from styletx.feedforward.training.optimisers import discriminating, optimisers  # noqa: E402
from styletx.options import Options, TrainingOptions  # noqa: E402
from styletx.stylizers import TransformingStylizer, load_stylizer  # noqa: E402

RUNS = ROOT / "runs" / "any"
PAIRS, EXAMPLES = RUNS / "pairs", RUNS / "examples"
CHECKPOINT, MODEL = RUNS / "checkpoint.pt", RUNS / "any.safetensors"
SIZES = (496, 504, 512, 528)  # px of the long side of pairs; their coarsest scale is about as large as a sketch
LAYOUT = Layout((16, 48, 96), lowpass=True, bridges=True, full=12, collage=True)
OWN_SIZE = 768  # px of the long side up to which a picture is painted at one scale
CROP, BATCH, RATE, WARM_UP = 224, 3, 0.01, 30
WEIGHTS = {"content": 1.0, "edges": 5.0, "style": 12.0, "adversarial": 5.0, "tv": 0.0}
NOISE = 2.5 / 255  # standard deviation of a sensor's noise in photographs at most
HELD_OUT = 6  # pairs to look at
# How often the channels of a whole example change places, it is inverted after that, and it turns grey: more palettes
# than there are paintings. And how often a coarser painting is mixed into the photograph, as at the second scale.
SHUFFLED, INVERTED, GREY, COARSER = 0.5, 0.2, 0.12, 0.3
EVERY = 100  # steps between checkpoints, and looks for new pairs

CPU = torch.device("cpu")


def pictures(folder: Path) -> list[Path]:
    """The pictures in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in files.PICTURE_EXTENSIONS)


def paint(photos: list[Path], paintings: list[Path], each: int) -> None:
    """Let the optimisation paint photographs after each painting, but for what is painted already."""
    for painting in paintings:
        draw = random.Random(painting.stem)
        folder = PAIRS / painting.stem
        folder.mkdir(parents=True, exist_ok=True)
        files.write(folder / "painting", str(painting.resolve()).encode())
        for photo in draw.sample(photos, each):
            size, target = draw.choice(SIZES), folder / f"{photo.stem}.png"
            if not target.exists():
                load_stylizer(painting, size=size)(photo).save(target)
                print(target, flush=True)


class Examples:
    """What the network is given, see `together`, and what the optimisation painted: `[4, 3, H, W]` each, in 8 bits.

    Args:
        photos: file name without its extension to photograph.
    """

    def __init__(self, photos: dict[str, Path]) -> None:
        self.photos = photos
        self.found: dict[Path, Tensor] = {}
        EXAMPLES.mkdir(parents=True, exist_ok=True)

    def look(self) -> None:
        """Find the pairs that there are by now."""
        for folder in sorted(PAIRS.iterdir()):
            guide: Guide | None = None
            for path in sorted(folder.glob("*.png")):
                kept = EXAMPLES / f"{folder.name}--{path.stem}.pt"
                if path in self.found or path.stem not in self.photos:
                    continue
                if not kept.exists():
                    guide = guide or self._guide((folder / "painting").read_text())
                    torch.save(self._made(path, guide), kept)
                self.found[path] = torch.load(kept)

    def _guide(self, painting: str) -> Guide:
        guide = TransformingStylizer(models.ANY, Options(device="cpu"), images.read(painting)).guide
        assert guide is not None
        return guide

    @torch.no_grad()
    def _made(self, path: Path, guide: Guide) -> Tensor:
        painted = images.read(path).pixels
        photo = images.resize(images.read(self.photos[path.stem]).pixels, (painted.shape[-2], painted.shape[-1]))
        guide.prepare(photo, seed=0)
        given = together(photo, guide.beside(photo, guide.sketches(photo)), photo.shape[-2], 0)
        return (torch.cat([*given.chunk(3, 1), painted]) * 255).round().to(torch.uint8)


def crops(examples: list[Tensor], draw: random.Random) -> Tensor:
    """A batch of parts of examples, `[4, B, 3, CROP, CROP]` in [0, 1], in many palettes."""
    found = []
    for _ in range(BATCH):
        example = draw.choice(examples)
        top, left = (draw.randint(0, extent - CROP) for extent in example.shape[-2:])
        part = example[..., top : top + CROP, left : left + CROP].float() / 255
        if draw.random() < 0.5:
            part = part.flip(-1)
        if draw.random() < SHUFFLED:
            part = part[:, draw.sample(range(3), 3)]
            if draw.random() < INVERTED:
                part = 1 - part
        if draw.random() < GREY:
            part = part.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        found.append(part)
    return torch.stack(found, 1)


def edges(output: Tensor, photo: Tensor, painted: Tensor) -> Tensor:
    """The mean difference of pictures `[B, 3, H, W]` where the photograph is lively.

    Where strokes lie in a sky is chance, but eyes and outlines have to be where they are.
    """
    share = lively(photo)
    return (share * (output - painted).abs()).sum() / (3 * share.sum() + 1)


def halved(pixels: Tensor) -> Tensor:
    """Pictures `[B, C, H, W]` at half the size."""
    return F.interpolate(pixels, scale_factor=0.5, mode="bicubic", antialias=True).clamp(0, 1)


def given(network: Transformer, batch: Tensor, draw: random.Random) -> Tensor:
    """What the network is given, `[B, 9, H, W]`, of crops: sometimes as at the second scale."""
    noise = draw.random() * NOISE * torch.randn_like(batch[0])
    picture, collage, photo = (batch[0] + noise).clamp(0, 1), batch[1], (batch[2] + noise).clamp(0, 1)
    if draw.random() < COARSER:
        with torch.no_grad():
            early = network(halved(torch.cat([picture, collage, photo], 1))).clamp(0, 1)
        picture = images.detailed(early, photo)
    return torch.cat([picture, collage, photo], 1).contiguous(memory_format=torch.channels_last)


def train(photos: list[Path], steps: int, resume: bool, first: Path | None) -> None:
    """Train the network on the pairs that there are."""
    torch.manual_seed(0)
    examples = Examples({photo.stem: photo for photo in photos})
    examples.look()
    held = random.Random(0).sample(sorted(examples.found), HELD_OUT)
    some_painting = Path(next(PAIRS.glob("*/painting")).read_text())
    # Of any painting, for its objective of pictures that should be like others says nothing of it.
    objective = TrainingObjective(images.read(some_painting), TrainingOptions(style_weight=WEIGHTS["style"]), CPU)
    network = Transformer(LAYOUT)
    torch.nn.init.zeros_(network.last.weight)  # it begins with the mean of picture and collage, and little photograph
    assert network.last.bias is not None
    network.last.bias.data = torch.tensor([0.0, 0.0, -3.0])
    if first is not None:
        network.load_state_dict(models.read(first).network.state_dict())
    network.to(memory_format=torch.channels_last).use(devices.dtype("auto", CPU))  # type: ignore[call-overload]
    chosen = [*optimisers(network, RATE), discriminating(objective.discriminator, RATE)]
    rates = [one.param_groups[0]["lr"] for one in chosen]
    parts = {"network": network, "discriminator": objective.discriminator, **dict(zip("abc", chosen, strict=True))}
    done = 0
    if resume:
        saved = torch.load(CHECKPOINT)
        done = saved["done"]
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    means: dict[str, float] = {}
    began = time.monotonic()
    for step in range(done + 1, steps + 1):
        draw = random.Random(step)
        for one, rate in zip(chosen, rates, strict=True):
            one.param_groups[0]["lr"] = rate * min(1, step / WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
            one.zero_grad()
        learnt = [t for path, t in examples.found.items() if path not in held and min(t.shape[-2:]) >= CROP]
        batch = crops(learnt, draw)
        output = network(given(network, batch, draw))
        # Values out of range are clamped, but their gradient is as if they were not, so that they are pulled back.
        found = objective.like(batch[3], learns=True).losses(output + (output.clamp(0, 1) - output).detach())
        found["edges"] = edges(output, batch[2], batch[3])
        total(found, WEIGHTS).backward()
        for one in chosen:
            one.step()
        for name, loss in found.items():
            means[name] = 0.98 * means.get(name, float(loss.detach())) + 0.02 * float(loss.detach())
        if step % EVERY == 0 or step == steps:
            shown = " ".join(f"{name} {value:.3f}" for name, value in means.items())
            print(f"{step}: {shown}, {(time.monotonic() - began) / (step - done):.2f} s a step", flush=True)
            torch.save({name: part.state_dict() for name, part in parts.items()} | {"done": step}, CHECKPOINT)
            about = {"name": "any", "own_size": OWN_SIZE, "steps": step, "pairs": len(examples.found), "losses": means}
            models.write(MODEL, network.eval(), about)
            look_at(network, [examples.found[path] for path in held])
            network.train()
            examples.look()


@torch.no_grad()
def look_at(network: Transformer, examples: list[Tensor]) -> None:
    """Write what the network makes of examples beside them."""
    rows = []
    for example in examples:
        picture, collage, photo, painted = (example.float() / 255).split(1)
        own = network(torch.cat([picture, collage, photo], 1)).clamp(0, 1)
        row = torch.cat([picture, collage, own, painted], 3)
        rows.append(images.resize(row, (round(row.shape[-2] * 1600 / row.shape[-1]), 1600)))
    images.write(RUNS / "look.png", torch.cat(rows, 2))


def sheet(photos: list[Path], paintings: list[Path]) -> Iterator[Tensor]:
    """A row for each painting: the painting, and photographs after it in one pass."""
    for painting in paintings:
        stylizer = load_stylizer(painting, method="one-pass", size=512)
        shown = [images.read(painting).pixels, *(one.pixels for one in stylizer(list(photos)))]
        yield torch.cat([images.resize(one, (384, round(384 * one.shape[-1] / one.shape[-2]))) for one in shown], 3)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("pairs", "train", "sheet"))
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path)
    parser.add_argument("--each", type=int, default=12, help="pairs of each painting")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--from", dest="first", type=Path, help="model to start from instead of random weights")
    arguments = parser.parse_args()
    photos = pictures(arguments.photos)
    if arguments.command == "train":
        train(photos, arguments.steps, arguments.resume, arguments.first)
        return
    if arguments.paintings is None:
        parser.error("--paintings is missing")
    if arguments.command == "pairs":
        paint(photos, pictures(arguments.paintings), arguments.each)
        return
    rows = list(sheet(photos, pictures(arguments.paintings)))
    widest = max(row.shape[-1] for row in rows)
    images.write(RUNS / "sheet.png", torch.cat([F.pad(row, (0, widest - row.shape[-1])) for row in rows], 2))


if __name__ == "__main__":
    main()
