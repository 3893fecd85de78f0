"""Training a network for one style (Johnson et al. 2016): photographs in, the first engine's losses on what comes out.

Everything that is drawn at random for a step is drawn from the seed and the step's number, so that a run that was
interrupted goes on exactly as if it had not been.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from styletx import backbones, devices, images, losses
from styletx.errors import OptionError, PictureError, TrainingError
from styletx.feedforward import files, sheets
from styletx.feedforward.muon import Muon
from styletx.feedforward.network import DEFAULT, Layout, Transformer
from styletx.feedforward.photographs import Crops
from styletx.files import write

CHECKPOINT = "checkpoint.pt"
WARM_UP = 30  # steps until the rate is what was asked for
DIVERGED = 4.0  # times the lowest loss: further than a healthy run climbs back
SMOOTHING = 0.95  # of the loss that is watched for that
LAST_LAYER = 0.3  # of a fresh network's first output, which is otherwise far out of [0, 1]


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained.

    Attributes:
        layout: of the network.
        steps: updates of its weights.
        batch: photographs a step and device.
        crop: side of the square crops, px.
        style_size: long side of the style picture, px.
        rate: the largest learning rate, reached after a warm-up and brought down to 0 along a cosine.
        every: steps between two checkpoints, each with a measurement on held-out photographs.
        seed: of the first weights, and of which photographs are seen when.
        ramp: share of the steps over which the style weight grows from nothing.
        style_weight: of the style loss.
        content_weight: of the content loss.
        tv_weight: of the total variation loss.
        backbone: the network that sees, by name.
        weights: its weights file, None for those in the cache or the package.
    """

    layout: Layout = DEFAULT
    steps: int = 4000
    batch: int = 4
    crop: int = 256
    style_size: int = 512
    rate: float = 0.02
    every: int = 250
    seed: int = 0
    ramp: float = 0.5
    style_weight: float = 60.0
    content_weight: float = 1.0
    tv_weight: float = 0.0
    backbone: str = "auto"
    weights: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.style_weight + self.content_weight < math.inf:
            raise OptionError("style weight and content weight make no loss; give one of them a weight above 0.")


@dataclass(frozen=True)
class TrainingStep:
    """Where a training stands after an update.

    Attributes:
        step: updates done.
        steps: updates planned.
        losses: "total", "content", "style", "tv" of the step's photographs before the update.
        held: the same of the held-out photographs, where they were just measured, else None.
        bad: names of photographs that could not be read, as far as they were met since the last step.
    """

    step: int
    steps: int
    losses: dict[str, float]
    held: dict[str, float] | None
    bad: tuple[str, ...]


class Training:
    """A training that can be iterated for its steps, stopped at any of them, and resumed.

    Args:
        style: the painting.
        photographs: files to train on; a few are held out to measure on, the same ones each time.
        output: the model file, written at each checkpoint; checkpoint, samples, log and loss curve go into a folder
            of its name ending in `.training` beside it.
        options: how to train.
        start: a trained network to begin from instead of random weights; its layout is taken.
        resume: go on from the checkpoint that is there.
        device: where to train, as in `Options.device`.
        workers: processes that read photographs; 0 reads them in this one.

    Raises:
        StyletxError: something asked for cannot work; its message says what to do.
    """

    def __init__(
        self,
        style: images.Picture,
        photographs: Sequence[Path],
        output: Path,
        options: TrainingOptions,
        *,
        start: files.Model | None = None,
        resume: bool = False,
        device: str = "auto",
        workers: int = 1,
    ) -> None:
        accelerate = _accelerate()
        self.options, self.output, self.style = options, output, style
        self.folder = output.with_suffix(".training")
        self.held_out, self.photographs = _split(photographs, options)
        chosen = devices.choose(device)
        bfloat16 = chosen.type == "cuda" and devices.has_bfloat16(chosen)
        self.accelerator = accelerate.Accelerator(
            cpu=chosen.type == "cpu", mixed_precision="bf16" if bfloat16 else "no", step_scheduler_with_optimizer=False
        )
        self.device = self.accelerator.device
        if (self.folder / CHECKPOINT).exists() and not resume:
            raise TrainingError(
                f"{self.folder}: holds a training already; go on with --resume, move it away, or give another -o."
            )
        self.workers = workers
        self.layout = options.layout if start is None else start.network.layout
        self._see()
        network = _fresh(self.layout, options.seed)
        if start is not None:
            network.load_state_dict(start.network.state_dict())
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        matrices = [weight for name, weight in network.named_parameters() if weight.dim() == 4 and "last" not in name]
        others = [weight for name, weight in network.named_parameters() if weight.dim() != 4 or "last" in name]
        # Vectors and the layer of the three colours are no matrices to make orthogonal.
        optimisers = [Muon(matrices, lr=options.rate), torch.optim.Adam(others, lr=options.rate / 10)]
        self.rates = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]
        self.network, *self.optimisers = self.accelerator.prepare(network, *optimisers)
        self.done = 0
        self.lowest = self.smoothed = math.inf
        if resume:
            self._resume()

    @property
    def trained(self) -> Transformer:
        """The network as it stands."""
        network: Transformer = self.accelerator.unwrap_model(self.network)
        return network

    def __iter__(self) -> Iterator[TrainingStep]:
        """Train; may be left at any step, of which `save` then makes a checkpoint."""
        options = self.options
        world = self.accelerator.num_processes
        crops = Crops(self.photographs, options.crop, options.seed)
        positions = range(self.done * options.batch * world, options.steps * options.batch * world)
        loader = self.accelerator.prepare(
            DataLoader(
                crops,
                batch_size=options.batch,
                sampler=positions,
                num_workers=self.workers,
                persistent_workers=False,
                collate_fn=crops.collate,
            )
        )
        self.network.train()
        for pixels, bad in loader:
            if not len(pixels):
                raise TrainingError(
                    f"photograph after photograph could not be read, {bad[-1]} the last; what was saved before stays. "
                    "Give a folder of photographs."
                )
            found = self._update(pixels.contiguous(memory_format=torch.channels_last))
            self.done += 1
            held = None
            if self.done % options.every == 0 or self.done == options.steps:
                held = self.save()
            yield TrainingStep(self.done, options.steps, found, held, bad)

    def _update(self, pixels: Tensor) -> dict[str, float]:
        options, step = self.options, self.done + 1
        schedule = min(1.0, step / WARM_UP) * (1 + math.cos(math.pi * step / options.steps)) / 2
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * schedule
            optimiser.zero_grad()
        # First to hand the photograph on and then to paint it: from a network that paints and knows no photograph,
        # no way leads to one that does.
        share = min(1.0, step / max(1.0, options.ramp * options.steps)) ** 2
        found = self._objective(pixels, share)(_clamp(self.network(pixels)))
        self.accelerator.backward(found["total"])
        values = {name: float(loss.detach()) for name, loss in found.items()}
        weights = {"content": options.content_weight, "style": options.style_weight, "tv": options.tv_weight}
        values["total"] = sum(weights[name] * values[name] for name in weights) / sum(weights.values())
        self._check(values["total"])
        for optimiser in self.optimisers:
            optimiser.step()
        return values

    def _check(self, total: float) -> None:
        smoothed = total if self.smoothed == math.inf else SMOOTHING * self.smoothed + (1 - SMOOTHING) * total
        if not smoothed <= DIVERGED * self.lowest:
            kept = f"the checkpoint of an earlier step is in {self.folder}" if self.done else "nothing was written"
            raise TrainingError(
                f"the loss went from {self.lowest:.3g} to {total:.3g} at step {self.done + 1}: the training diverges; "
                f"{kept}. Begin again with a smaller --rate, such as {self.options.rate / 4:g}."
            )
        # Until the average has filled it says little about where the loss is.
        self.smoothed = smoothed
        if self.done >= WARM_UP:
            self.lowest = min(self.lowest, smoothed)

    def _objective(self, pixels: Tensor, share: float = 1.0) -> losses.PerceptualLoss:
        return losses.PerceptualLoss(
            self.seeing,
            losses.content_targets(self.seeing, pixels, self.backbone.content_layers),
            self.style_targets,
            content_weight=self.options.content_weight,
            style_weight=share * self.options.style_weight,
            tv_weight=self.options.tv_weight,
            content_layers=self.backbone.content_layers,
            style_layers=self.backbone.style_layers,
        )

    def _see(self) -> None:
        options = self.options
        self.backbone = backbones.load(options.backbone, weights=options.weights, seed=options.seed)
        self.seeing: nn.Module = self.backbone.module.to(self.device).to(memory_format=torch.channels_last)
        style = self.style.pixels
        size = images.fit((style.shape[-2], style.shape[-1]), options.style_size)
        pixels = images.resize(style.to(self.device), size).contiguous(memory_format=torch.channels_last)
        self.style_targets = losses.style_targets(self.seeing, pixels, self.backbone.style_layers)

    @torch.no_grad()
    def measure(self) -> tuple[dict[str, float], list[Tensor]]:
        """Mean losses of the held-out photographs, and what the network makes of them, each `[1, 3, H, W]`."""
        network = self.trained.eval()
        found, painted = [], []
        for pixels in self.held_out.values():
            pixels = pixels.to(self.device).contiguous(memory_format=torch.channels_last)
            output = network(pixels).clamp(0, 1)
            found.append(self._objective(pixels)(output))
            painted.append(output.cpu())
        self.network.train()
        return {name: sum(float(one[name]) for one in found) / len(found) for name in found[0]}, painted

    def save(self) -> dict[str, float] | None:
        """Write model, checkpoint, samples, log and curve as things stand; the held-out photographs' losses.

        Raises:
            OutputError: one cannot be written; what was there stays.
        """
        if not self.accelerator.is_main_process:
            return None
        held, painted = self.measure()
        if not all(map(math.isfinite, held.values())):
            raise TrainingError(
                f"at step {self.done} the network's pictures are not finite numbers; what was saved before stays. "
                f"Begin again with a smaller --rate, such as {self.options.rate / 4:g}."
            )
        checkpoint = {
            "done": self.done,
            "lowest": self.lowest,
            "smoothed": self.smoothed,
            "network": self.trained.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "identity": self._identity(),
        }
        files.write_torch(self.folder / CHECKPOINT, checkpoint)
        files.write(self.output, self.trained, self.about(held))
        records = [record for record in sheets.read_log(self.folder / "log.jsonl") if record["step"] < self.done]
        records.append({"step": self.done, **held})
        write(self.folder / "log.jsonl", "".join(json.dumps(one) + "\n" for one in records).encode())
        images.write(self.folder / f"samples-{self.done:06d}.png", sheets.sheet(painted))
        sheets.curve(self.folder / "curve.png", records)
        return held

    def about(self, held: dict[str, float]) -> dict[str, Any]:
        """What the model file says of its making."""
        return {
            "name": self.output.stem,
            "style": os.path.basename(self.style.name),
            "training": dataclasses.asdict(self.options) | {"layout": dataclasses.asdict(self.layout)},
            "photographs": len(self.photographs),
            "steps": self.done,
            "backbone": self.backbone.architecture.name,
            "backbone_sha256": self.backbone.source.sha256,
            "licence": self.backbone.architecture.licence,
            "torch": torch.__version__,
            "losses": held,
        }

    def _identity(self) -> str:
        """What has to be the same for a checkpoint to go on as if it had not been interrupted."""
        options = dataclasses.asdict(self.options) | {"layout": dataclasses.asdict(self.layout), "every": None}
        names = [*(path.name for path in self.held_out), *(path.name for path in self.photographs)]
        return json.dumps([options, os.path.basename(self.style.name), names, self.accelerator.num_processes])

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        saved = files.read_torch(path)
        if not isinstance(saved, dict) or saved.get("identity") != self._identity():
            raise TrainingError(
                f"{path}: is of a training with other options, photographs or another style; give the same ones "
                "again, or give another -o to begin anew."
            )
        try:
            self.trained.load_state_dict(saved["network"])
            for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
                optimiser.load_state_dict(state)
            self.done = range(self.options.steps + 1)[saved["done"]]
            self.lowest, self.smoothed = float(saved["lowest"]), float(saved["smoothed"])
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise TrainingError(f"{path}: is damaged; give another -o to begin anew.") from error


def _fresh(layout: Layout, seed: int) -> Transformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Transformer(layout)
        network.last.weight.data.mul_(LAST_LAYER)
    return network


def _clamp(pixels: Tensor) -> Tensor:
    # What is out of range looks clamped, but is pulled back as if it were not.
    return pixels + (pixels.clamp(0, 1) - pixels).detach()


def _split(photographs: Sequence[Path], options: TrainingOptions) -> tuple[dict[Path, Tensor], list[Path]]:
    """Photographs to measure on, with their pixels, and photographs to train on; spread evenly and always the same."""
    photographs = sorted(photographs)
    least = max(8, 2 * options.batch)
    if len(photographs) < least:
        raise TrainingError(
            f"too few photographs to train on ({len(photographs)}); give a folder of at least {least} with --photos, "
            "better of a thousand."
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
        raise TrainingError("none of the photographs can be read; give a folder of JPEG or PNG photographs.")
    return held_out, [path for path in photographs if path not in held_out]


def _accelerate() -> Any:
    try:
        import accelerate
    except ImportError:
        raise OptionError(
            "training needs accelerate and matplotlib, which are not installed; run: pip install 'styletx[train]'"
        ) from None
    return accelerate
