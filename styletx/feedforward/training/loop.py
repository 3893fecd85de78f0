"""Training a network for one style (Johnson et al. 2016): the losses of the optimisation judge what it makes of photos.

Everything random about a step follows from the seed and the step's number, so that an interrupted training continues
exactly as if it had not been interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from styletx import devices, files, images
from styletx.errors import OptionError, PictureError, StyletxError, TrainingError, field
from styletx.feedforward import models, scales
from styletx.feedforward.networks import Layout, Transformer
from styletx.feedforward.training import checkpoints, photographs, records
from styletx.feedforward.training.divergence import Watch
from styletx.feedforward.training.measuring import Measured, measured, total
from styletx.feedforward.training.objective import TrainingObjective
from styletx.feedforward.training.optimisers import discriminating, optimisers
from styletx.feedforward.training.steadiness import MOVED, unsteadiness, window
from styletx.losses import Discriminator
from styletx.notes import Note, Notes
from styletx.options import TrainingOptions

WARM_UP = 30  # steps until the learning rate is the one asked for
LAST_LAYER = 0.3  # scales a new network's first output, which is otherwise far outside [0, 1]


@dataclass(frozen=True)
class TrainingStep:
    """Where a training stands after an update.

    Attributes:
        step: updates done.
        steps: updates planned.
        losses: "total", "content", "style", "tv" of the step's photographs before the update.
        held: the same of the held-out photographs if they were just measured, else None.
        bad: names of photographs that were met since the last step and gave no crop.
        notes: what could not be measured, drawn or written at this step, though the training goes on.
    """

    step: int
    steps: int
    losses: dict[str, float]
    held: dict[str, float] | None
    bad: tuple[str, ...]
    notes: Notes = ()


class Training:
    """A training that can be iterated for its steps, stopped at any of them, and resumed.

    Args:
        style: the painting.
        photos: files to train on; a few are held out to measure on, the same ones each time.
        output: the model file, written at each checkpoint. Checkpoint, samples, log and loss curve go into a folder
            beside it, of its name ending in `.training`.
        options: how to train.
        start: a trained network to start from instead of random weights; its layout replaces that of the options.
        resume: continue from the checkpoint.
        device: where to train, as in `Options.device`.
        workers: processes that read photographs; 0 reads them in this one.

    Raises:
        StyletxError: something asked for cannot work; its message says what to do.
    """

    def __init__(
        self,
        style: images.Picture,
        photos: Sequence[Path],
        output: Path,
        options: TrainingOptions,
        *,
        start: models.Model | None = None,
        resume: bool = False,
        device: str = "auto",
        workers: int = 1,
    ) -> None:
        accelerate = _accelerate()
        self.options, self.output, self.style, self.workers = options, output, style, workers
        self.folder = output.with_suffix(".training")
        self.held_out, self.photographs, self.left_out = photographs.split(photos, options)
        chosen = devices.choose(device)
        self.accelerator = accelerate.Accelerator(
            cpu=chosen.type == "cpu", mixed_precision="no", step_scheduler_with_optimizer=False
        )
        self.device = self.accelerator.device
        if not resume:
            checkpoints.check_free(self.folder, output)
        if options.pairs and options.size < options.crop + MOVED:
            raise TrainingError(
                f"a crop of {options.crop} px, and {MOVED} to move, does not fit into pictures of {options.size} px; "
                f"reduce {field('crop')} or raise {field('size')}"
            )
        self.objective = TrainingObjective(style, options, self.device)
        own = Layout(options.widths, blocks=options.blocks, expansion=options.expansion, lowpass=True, bridges=True)
        self.layout: Layout = own if start is None else start.network.layout
        network = _fresh(self.layout, options.seed)
        if start is not None:
            network.load_state_dict(start.network.state_dict())
        if network.palette is not None:
            network.palette.copy_(torch.cat([self.objective.colors.mean[None], self.objective.colors.covariance]))
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.use(devices.dtype("auto", self.device))
        judging = discriminating(self.objective.discriminator, options.rate)
        self.network, self.objective.discriminator, *self.optimisers = self.accelerator.prepare(
            network, self.objective.discriminator, *optimisers(network, options.rate), judging
        )
        paintings = (1 + scales.COARSEST**2) * (2 if options.steadiness else 1)
        each = paintings * devices.bytes_per_pixel(self.trained, self.device)
        each += devices.bytes_per_pixel(self.objective.network, self.device)
        devices.check_memory(
            options.batch * options.crop**2 * each,
            self.device,
            f"a step of {options.batch} crops of {options.crop}×{options.crop} px",
            f"reduce {field('batch')} or {field('crop')}",
        )
        self.rates = [optimiser.param_groups[0]["lr"] for optimiser in self.optimisers]
        self.painted: Mapping[Path, Path] | None = None
        self.done = 0
        self.saved = 0  # how much of it the checkpoint has
        self.missed: Notes = ()  # what went wrong at the last checkpoint and was no reason to stop
        self.watch = Watch()
        if resume:
            self._resume()

    @property
    def notes(self) -> Notes:
        """What a person should know about the painting, the backbone and the photographs."""
        return (*self.style.notes, *self.objective.backbone.notes, *self.left_out)

    @property
    def trained(self) -> Transformer:
        """The network as it stands."""
        network: Transformer = self.accelerator.unwrap_model(self.network)
        return network

    @property
    def _discriminator(self) -> Discriminator:
        discriminator: Discriminator = self.accelerator.unwrap_model(self.objective.discriminator)
        return discriminator

    @property
    def to_paint(self) -> list[Path]:
        """The photographs that should be painted first, of which `learn_from` is then told; the held-out ones too."""
        pairs = self.options.pairs
        chosen = random.Random(self.options.seed).sample(self.photographs, min(pairs, len(self.photographs)))
        return [*self.held_out, *sorted(chosen)] if pairs else []

    def learn_from(self, painted: Mapping[Path, Path]) -> None:
        """Learn from what was painted.

        Args:
            painted: photograph to the file that shows how it was painted, at any size.

        Raises:
            TrainingError: too few of them.
        """
        held = {path: pixels for path, pixels in self.held_out.items() if path in painted}
        rest = [path for path in self.photographs if path in painted]
        if not held or not rest:
            raise TrainingError(
                f"{len(rest)} of the photographs were painted, which is too little; raise {field('pairs')}"
            )
        _ = self._identity  # of all the photographs, as they were given
        self.painted, self.held_out, self.photographs = painted, held, rest

    def __iter__(self) -> Iterator[TrainingStep]:
        """Train; may be left at any step, where `save` then writes a checkpoint."""
        options = self.options
        world = self.accelerator.num_processes
        palette = self.trained.descriptor.colors
        crops = photographs.Crops(
            self.photographs, options.crop + MOVED, options.seed, self.painted, palette, self.objective.clouds
        )
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
        try:
            for pixels, bad in loader:
                if not len(pixels):
                    raise PictureError(
                        f"{field('photos')}: too many photographs give no crop, {files.shown(bad[-1])} for one, and "
                        "training stops; remove them from the folder"
                    )
                found = self._update(*pixels.unbind(1))
                self.done += 1
                held, self.missed = None, ()
                if self.done % options.every == 0 or self.done == options.steps:
                    held = self.save()
                yield TrainingStep(self.done, options.steps, found, held, bad, self.missed)
        except TrainingError:  # the network is past saving
            raise
        except Exception:
            if self.done > self.saved:
                with contextlib.suppress(Exception):  # the first error says more
                    self._checkpoint()
            raise

    def _update(self, photograph: Tensor, painted: Tensor | None = None) -> dict[str, float]:
        """One step.

        Args:
            photograph: crops `[B, 3, H, W]` of photographs as the network takes them, but `MOVED` px larger.
            painted: the same as they were painted.
        """
        options, step = self.options, self.done + 1
        schedule = min(1.0, step / WARM_UP) * (1 + math.cos(math.pi * step / options.steps)) / 2
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * schedule
            optimiser.zero_grad()
        # First it learns to reproduce the photograph, then to paint it: a network that paints and has lost the
        # photograph does not find it again.
        share = min(1.0, step / max(1.0, options.ramp * options.steps)) ** 2
        weights = self.objective.weights(share)
        here = window(photograph)
        output = self._paint(here)
        objective = self.objective.of(here) if painted is None else self.objective.like(window(painted), learns=True)
        found = objective.losses(_clamp(output))
        if weights["steadiness"]:
            found["steadiness"] = unsteadiness(self._paint, photograph, output, options.seed + step)
        self.accelerator.backward(total(found, weights))
        values = {name: float(loss.detach()) for name, loss in found.items()}
        values["total"] = total(values, self.objective.weights())
        if self.watch.diverges(values["total"], is_warm=self.done >= WARM_UP):
            is_kept = (self.folder / checkpoints.NAME).exists()
            kept = f"the last checkpoint is in {files.shown(self.folder)}" if is_kept else "nothing was written"
            raise TrainingError(
                f"the training diverges: at step {step} its loss is {values['total']:.3g}, after "
                f"{self.watch.lowest:.3g} at best, and {kept}; start anew with a smaller {field('rate')}, such as "
                f"{options.rate / 4:g}"
            )
        for optimiser in self.optimisers:
            optimiser.step()
        if self.objective.line:  # the losses hardly see a tint in a drawing, but people do
            self.trained.confine(*self.objective.line)
        return values

    def _paint(self, pixels: Tensor) -> Tensor:
        return scales.repainted(self.network, pixels)

    @property
    def own_size(self) -> int:
        """Long side in px of a picture in which the network's strokes are as wide as they should be."""
        return round(self.options.size * scales.COARSEST)

    def measure(self) -> Measured:
        """Look at the held-out photographs, as the network paints them now."""
        return measured(
            self.trained.eval(),
            self.objective,
            self.held_out,
            self.painted,
            own_size=self.own_size,
            label=f"network, step {self.done}",
            seed=self.options.seed,
            device=self.device,
        )

    def save(self) -> dict[str, float] | None:
        """Write checkpoint and model, then samples, log and curve, as things stand.

        What cannot be measured or drawn is missing, and a note in `missed`. So is what cannot be written, but at the
        end.

        Returns:
            The held-out photographs' losses; None if they could not be measured, and in any process but the main one,
            which writes nothing.

        Raises:
            OutputError: the model of the whole training cannot be written; a file that was there is left as it was.
            TrainingError: the network's weights or its pictures are not finite numbers.
        """
        if not self.accelerator.is_main_process:
            return None
        smaller = f"start anew with a smaller {field('rate')}, such as {self.options.rate / 4:g}"
        if not all(bool(weights.isfinite().all()) for weights in self.trained.state_dict().values()):
            raise TrainingError(
                f"at step {self.done} the network has weights that are not finite numbers, and the last checkpoint "
                f"stays; {smaller}"
            )
        held = dict[str, float]()
        with self._going_on("The checkpoint was not written"):
            self._checkpoint()
        try:
            with self._going_on("The held-out photographs could not be measured"):
                seen = self.measure()
                held = seen.losses
        except FloatingPointError as error:
            raise TrainingError(f"at step {self.done} the network paints {error.args[0]}; {smaller}") from None
        is_last = self.done == self.options.steps
        with contextlib.nullcontext() if is_last else self._going_on("The model was not written"):
            models.write(self.output, self.trained, self.about(held))
        if held:
            with self._going_on("Samples, log or curve were not written"):
                records.write(self.folder, self.done, held, seen.rows, seen.photographs)
        return held or None

    def _checkpoint(self) -> None:
        checkpoint = {
            "done": self.done,
            "lowest": self.watch.lowest,
            "smoothed": self.watch.smoothed,
            "network": self.trained.state_dict(),
            "discriminator": self._discriminator.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "identity": self._identity,
        }
        checkpoints.write(self.folder / checkpoints.NAME, checkpoint)
        self.saved = self.done

    @contextlib.contextmanager
    def _going_on(self, what: str) -> Iterator[None]:
        """Turn what goes wrong meanwhile into a note."""
        try:
            yield
        except FloatingPointError:  # of the network, which is past saving
            raise
        except Exception as error:
            reason = error.args[0] if isinstance(error, StyletxError) else files.reason(error)
            self.missed += (Note(f"{what} at step {self.done}: {reason}."),)
        finally:
            self.network.train()

    def about(self, held: dict[str, float]) -> dict[str, Any]:
        """What the model file says about its training."""
        backbone = self.objective.backbone
        return {
            "name": self.output.stem,
            "style": os.path.basename(self.style.name),
            "training": self._options(),
            "photographs": len(self.photographs),
            "steps": self.done,
            "backbone": backbone.architecture.name,
            "backbone_sha256": backbone.source.sha256,
            "licence": backbone.architecture.licence,
            "torch": torch.__version__,
            "own_size": self.own_size,
            "clouds": self.objective.clouds,
            "losses": held,
        }

    def _options(self) -> dict[str, Any]:
        # The layout may be that of the network that the training started from.
        return dataclasses.asdict(self.options) | dataclasses.asdict(self.layout)

    @cached_property
    def _identity(self) -> str:
        """What must be the same for a checkpoint to continue as if it had not been interrupted."""
        names = [*(path.name for path in self.held_out), *(path.name for path in self.photographs)]
        style = os.path.basename(self.style.name), files.sha256(self.style.pixels.numpy().tobytes())
        return json.dumps([self._options() | {"every": None}, style, names, self.accelerator.num_processes])

    def _resume(self) -> None:
        path = self.folder / checkpoints.NAME
        saved = checkpoints.read(path, self._identity)
        try:
            self.trained.load_state_dict(saved["network"])
            self._discriminator.load_state_dict(saved["discriminator"])
            for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
                optimiser.load_state_dict(state)
                for parameter, kept in optimiser.state.items():
                    if any(one.dim() and one.shape != parameter.shape for one in kept.values()):
                        raise ValueError("an optimiser's state does not fit")
            self.done = self.saved = range(self.options.steps + 1)[saved["done"]]
            self.watch.lowest, self.watch.smoothed = float(saved["lowest"]), float(saved["smoothed"])
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise checkpoints.damaged(path) from error


def _fresh(layout: Layout, seed: int) -> Transformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Transformer(layout)
        network.last.weight.data.mul_(LAST_LAYER)
    return network


def _clamp(pixels: Tensor) -> Tensor:
    # Values out of range are clamped, but their gradient is as if they were not, so that they are pulled back.
    return pixels + (pixels.clamp(0, 1) - pixels).detach()


def _accelerate() -> Any:
    try:
        import accelerate
    except ImportError:
        raise OptionError(
            "training needs accelerate and matplotlib, which are not installed; run: pip install 'styletx[train]'"
        ) from None
    return accelerate
