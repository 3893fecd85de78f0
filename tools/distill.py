"""Train the compact VGG-19, which has a quarter of the width and measures pictures as VGG-19 does.

    python tools/distill.py shallow                  # relu1_1 to relu3_1, from random weights
    python tools/distill.py deep --from FILE         # relu3_2 to relu5_1, over the frozen shallow layers
    python tools/distill.py whole --from FILE        # all layers together
    python tools/distill.py STAGE --resume           # continues from runs/STAGE.pt
    python tools/distill.py measure --from FILE      # the errors of a file of weights, one layer per line

The student's features f are compared with the teacher's t through a linear map P for each layer, |P f - t|^2 / |t|^2,
and so are their Gram matrices. P is not a parameter but the least-squares solution for the pictures of the last steps.
It is exported as the C x C matrix R with R^T R = P^T P, which gives the same distances.
docs/compact-backbone.md describes the whole recipe.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import random
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur, pil_to_tensor, resized_crop

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from styletx import files  # noqa: E402
from styletx.backbones.registry import COMPACT_VGG19  # noqa: E402
from styletx.backbones.vgg import VGG, layer_names  # noqa: E402
from styletx.feedforward.training.optimisers import Muon  # noqa: E402

SHARED = ROOT.parent / "shared"
RUNS = ROOT / "runs"
NAMES = layer_names(COMPACT_VGG19)
SHALLOW = ("relu1_1", "relu2_1", "relu3_1")
DEEP = ("relu4_1", "relu4_2", "relu5_1")
REAL_KEYS = dict(zip(NAMES, (f"features.{index}" for index in (0, 2, 5, 7, 10)), strict=False))
DISTILLED_KEYS = {name: name.replace("relu", "conv") for name in NAMES}
CONTENT_LAYER = "relu4_2"
METADATA = {
    "architecture": "VGG-19 topology through relu5_1, widths " + json.dumps(COMPACT_VGG19),
    "input": "RGB in [0, 1], normalised by the ImageNet mean and standard deviation",
    "licence": "CC BY 4.0 (VGG-19, Simonyan & Zisserman) and MIT (Collaborative Distillation, Wang et al.)",
    "teachers": "VGG-19 (Simonyan & Zisserman 2015, CC BY 4.0) for relu1_1 to relu3_1; VGG-19 distilled 16x"
    " (Wang et al., Collaborative Distillation for Ultra-Resolution Universal Style Transfer, CVPR 2020, MIT)"
    " for relu4_1 to relu5_1; no tensor of either is copied",
    "recipe": "docs/compact-backbone.md",
}


class Stage(NamedTuple):
    """What one stage trains, and on what."""

    first: str  # first layer that is trained; those above it are frozen, and their output is computed once per picture
    targets: tuple[str, ...]  # layers that are compared with the teachers
    crop: int  # px, the side of the training pictures
    batch: int  # pictures per step
    gallery: int  # pictures held with the teachers' answers, half of them optimised ones


STAGES = {
    "shallow": Stage("relu1_1", SHALLOW, crop=64, batch=16, gallery=512),
    "deep": Stage("relu3_2", DEEP, crop=128, batch=8, gallery=384),
    "whole": Stage("relu1_1", SHALLOW + DEEP, crop=128, batch=8, gallery=384),
}


def convolve(state: dict[str, Tensor], keys: dict[str, str], features: Tensor) -> dict[str, Tensor]:
    """All activations of a VGG; `keys` gives each layer's prefix in `state`, beginning with the first layer to run."""
    found: dict[str, Tensor] = {}
    features = features.contiguous(memory_format=torch.channels_last)
    for name, key in keys.items():
        if name.endswith("_1") and name != "relu1_1":
            features = F.max_pool2d(features, 2)
        padded = F.pad(features, (1, 1, 1, 1), mode="reflect")
        features = F.relu_(F.conv2d(padded, state[f"{key}.weight"], state[f"{key}.bias"]))
        found[name] = features
    return found


def gram(features: Tensor) -> Tensor:
    """`[B, C, C]` of `[B, C, n]`."""
    return features @ features.mT / features.shape[2]


class Student:
    """The network without its read-outs, random or from an exported file, and the maps from it to the teachers.

    Attributes:
        state: the network's parameters.
        projections: P of each layer, `[T, C]`, the least-squares map from the student's activations to the teacher's.
        metrics: P^T P of each layer, `[C, C]`, on which alone distances depend.
    """

    def __init__(self, path: pathlib.Path | None) -> None:
        self.network = VGG(COMPACT_VGG19, NAMES).to(memory_format=torch.channels_last)
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}
        self.projections: dict[str, Tensor] = {}
        self.metrics: dict[str, Tensor] = {}
        for name, parameter in self.network.named_parameters():
            if name.endswith(".bias"):
                torch.nn.init.zeros_(parameter)
            else:
                torch.nn.init.kaiming_normal_(parameter)
        for key, value in load_file(path).items() if path else ():
            kind, name, _ = key.split(".")
            if kind == "readouts":
                readout = value[:, :, 0, 0].float()
                self.metrics[name] = readout.mT @ readout
            else:
                self.network.get_parameter(key).data.copy_(value)
        self.state: dict[str, Tensor] = dict(self.network.named_parameters())

    def normalise(self, pictures: Tensor) -> Tensor:
        """The input of the first layer."""
        return (pictures - self.network.mean) / self.network.std

    def __call__(self, features: Tensor, targets: tuple[str, ...], first: str = NAMES[0]) -> dict[str, Tensor]:
        """Layer name to plain activations `[B, C, h, w]`, given the input of the layer `first`."""
        names = NAMES[NAMES.index(first) : max(map(NAMES.index, targets)) + 1]
        features = self.normalise(features) if first == NAMES[0] else features
        found = convolve(self.state, {name: f"convolutions.{name}" for name in names}, features)
        return {name: found[name] for name in targets}

    @torch.no_grad()
    def project(self, name: str, within: Tensor, across: Tensor, share: float) -> None:
        """Solve for P again, with a share of these moments f f^T, `[C, C]`, and t f^T, `[T, C]`, and the rest of older.

        So P follows the student. At the best P the gradient of the error is the same whether P moves or not.
        """
        old_within, old_across = self.moments.get(name, (within, across))
        within, across = torch.lerp(old_within, within, share), torch.lerp(old_across, across, share)
        ridge = 1e-5 * within.diagonal().mean() * torch.eye(len(within))
        projection = torch.linalg.solve(within + ridge, across.mT).mT.contiguous()
        self.moments[name], self.projections[name] = (within, across), projection
        self.metrics[name] = projection.mT @ projection

    @torch.no_grad()
    def export(self, path: pathlib.Path) -> None:
        """Write the network with its read-outs in float16."""
        tensors = self.state | {
            f"readouts.{name}.weight": fold(metric)[:, :, None, None] for name, metric in self.metrics.items()
        }
        files.write(path, save({key: value.half().contiguous() for key, value in tensors.items()}, METADATA))


def fold(metric: Tensor) -> Tensor:
    """R, `[C, C]`, with R^T R = P^T P: the symmetric square root of the metric P^T P."""
    values, vectors = torch.linalg.eigh(metric.double())
    return ((vectors * values.clamp(min=0).sqrt()) @ vectors.mT).to(metric.dtype)


class Teachers:
    """The real VGG-19 for the shallow layers, and the distilled one with its projections for the deep layers."""

    def __init__(self) -> None:
        self.real = load_file(SHARED / "weights" / "vgg19-relu3_1.safetensors")
        self.distilled = load_file(SHARED / "weights" / "vgg19-distilled-16x.safetensors")

    def __call__(self, pixels: Tensor, targets: tuple[str, ...]) -> dict[str, Tensor]:
        """Layer name to activations `[B, T, h, w]` of normalised pixels."""
        found: dict[str, Tensor] = {}
        if set(targets) & set(SHALLOW):
            found |= convolve(self.real, REAL_KEYS, pixels)
        if set(targets) & set(DEEP):
            found |= {k: v for k, v in convolve(self.distilled, DISTILLED_KEYS, pixels).items() if k in DEEP}
            for name in ("relu4_1", "relu5_1"):
                key = name.replace("relu", "project")
                weight, bias = self.distilled[f"{key}.weight"], self.distilled[f"{key}.bias"]
                found[name] = F.relu(F.conv2d(found[name], weight, bias))
        return {name: found[name] for name in targets}


class Pictures:
    """Random crops of photographs and paintings at all scales, some recoloured, blurred or noisy.

    Every 20th photograph and every 8th painting is held out; `held_out` picks those instead of the others.
    """

    def __init__(self, seed: int, held_out: bool = False) -> None:
        self.random = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.photos, self.paintings = (
            [file for i, file in enumerate(sorted((SHARED / folder).glob("*.jpg"))) if (i % n == 0) == held_out]
            for folder, n in (("photos", 20), ("paintings", 8))
        )
        self.read: dict[pathlib.Path, Tensor] = {}

    def crop(self, side: int, painting: bool) -> Tensor:
        """`[3, side, side]`: anything from a slightly enlarged detail to a whole picture."""
        file = self.random.choice(self.paintings if painting else self.photos)
        if file not in self.read:
            self.read[file] = pil_to_tensor(Image.open(file).convert("RGB"))
        image = self.read[file]
        shorter, smallest = min(image.shape[1:]), 0.7 * side
        window = round(min(shorter, smallest * (shorter / smallest) ** self.random.random()))
        top, left = (self.random.randint(0, extent - window) for extent in image.shape[1:])
        crop = resized_crop(image, top, left, window, window, [side, side], antialias=True).float() / 255
        return crop.flip(2) if self.random.random() < 0.5 else crop

    def varied(self, side: int) -> Tensor:
        """A crop that is recoloured, blurred, noisy, or (three times in five) left as it is."""
        crop = self.crop(side, painting=self.random.random() < 0.35)
        kind, amount = self.random.random(), self.random.random()
        if kind < 0.15:
            colours = torch.eye(3) + amount * torch.randn(3, 3, generator=self.generator)
            crop = torch.einsum("ij,jhw->ihw", colours, crop - 0.5) + 0.5
        elif kind < 0.25:
            crop = gaussian_blur(crop, [9, 9], [0.3 + 2.5 * amount])
        elif kind < 0.4:
            crop = crop + 0.4 * amount**2 * torch.randn(crop.shape, generator=self.generator)
        return crop.clamp(0, 1)

    def batch(self, count: int, side: int) -> Tensor:
        """`[count, 3, side, side]`, varied."""
        return torch.stack([self.varied(side) for _ in range(count)])


def stylise(student: Student, start: Tensor, content: Tensor, style: Tensor, weights: Tensor, count: int) -> Tensor:
    """Pictures `[B, 3, H, W]` after `count` L-BFGS iterations each, under the student's own measure."""
    layers = tuple(student.metrics)
    content_layer = CONTENT_LAYER if CONTENT_LAYER in layers else layers[-1]
    metric = student.metrics[content_layer]

    def features(pictures: Tensor) -> dict[str, Tensor]:
        return {name: value.flatten(2) for name, value in student(pictures, layers).items()}

    def size(name: str, difference: Tensor) -> Tensor:
        product = student.metrics[name] @ difference
        return (product * product.mT).sum((1, 2))

    student.network.requires_grad_(False)
    grams = {name: gram(value) for name, value in features(style).items()}
    wanted = features(content)[content_layer]
    content_size = (wanted * (metric @ wanted)).sum((1, 2)) + 1e-6
    pixels = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([pixels], max_iter=count, history_size=count, tolerance_grad=0, tolerance_change=0)

    def objective() -> Tensor:
        optimiser.zero_grad()
        found = features(pixels)
        error = found[content_layer] - wanted
        losses = weights * (error * (metric @ error)).sum((1, 2)) / content_size
        for name in layers:
            losses = losses + 10 * size(name, gram(found[name]) - grams[name]) / (size(name, grams[name]) + 1e-6)
        loss = 100 * losses.sum()
        loss.backward()
        return loss

    optimiser.step(objective)
    student.network.requires_grad_(True)
    result = pixels.detach()
    return torch.where(result.isfinite(), result, start).clamp(0, 1)


@torch.no_grad()
def ask(student: Student, teachers: Teachers, stage: Stage, pictures: Tensor) -> dict[str, Tensor]:
    """What a stage needs for pictures, in float16: the input of its first layer, and targets scaled to an RMS of 1."""
    answers = {"input": pictures}
    if stage.first != NAMES[0]:
        above = NAMES[NAMES.index(stage.first) - 1]
        answers["input"] = student(pictures, (above,))[above]
    for name, target in teachers(student.normalise(pictures), stage.targets).items():
        scale = target.square().mean((1, 2, 3)).add(1e-6).rsqrt()
        target = (target * scale[:, None, None, None]).flatten(2)
        answers |= {f"{name}.scale": scale, name: target, f"{name}.gram": gram(target)}
    return {key: value.half() for key, value in answers.items()}


class Gallery:
    """Training pictures, replaced a few at a time, because asking a teacher costs more than training the student.

    The first half are ordinary pictures. Those of the second half are being optimised under the student's own style
    loss: what fools the student today is tomorrow's training picture.
    """

    def __init__(self, student: Student, stage: Stage, source: Pictures) -> None:
        self.student, self.stage, self.source, self.teachers = student, stage, source, Teachers()
        self.half = stage.gallery // 2
        pictures = source.batch(stage.gallery, stage.crop)
        parts = [ask(student, self.teachers, stage, part) for part in pictures.split(16)]
        self.answers = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        self.pictures = pictures[self.half :]
        self.content, self.style = self.pictures.clone(), source.batch(self.half, stage.crop)
        self.renewed = self.optimised = 0

    def take(self, slots: Tensor) -> dict[str, Tensor]:
        """The answers in these slots, in float32."""
        return {key: value[slots].float() for key, value in self.answers.items()}

    def put(self, slots: Tensor, pictures: Tensor) -> None:
        """Replace the pictures in these slots."""
        for key, value in ask(self.student, self.teachers, self.stage, pictures).items():
            self.answers[key][slots] = value

    def batch(self) -> dict[str, Tensor]:
        """A batch, half of it from each half of the gallery."""
        draw = torch.randint(self.half, (2, self.stage.batch // 2), generator=self.source.generator)
        return self.take(torch.cat((draw[0], self.half + draw[1])))

    def renew(self, count: int) -> None:
        """Replace the oldest of the first half by new pictures."""
        slots = (self.renewed + torch.arange(count)) % self.half
        self.renewed += count
        self.put(slots, self.source.batch(count, self.stage.crop))

    def optimise(self, count: int, evaluations: int) -> None:
        """Optimise some of the second half further; a quarter of them start over with new pictures."""
        slots = (self.optimised + torch.arange(count)) % self.half
        # Now and then one more, so that other slots start over in the next round.
        self.optimised += count + self.source.random.randint(0, 1)
        restarted = slots[: count // 4]
        fresh = self.source.batch(2 * len(restarted), self.stage.crop).chunk(2)
        self.pictures[restarted], self.content[restarted], self.style[restarted] = fresh[0], *fresh
        weights = torch.rand(count, generator=self.source.generator)
        state = self.pictures[slots], self.content[slots], self.style[slots]
        self.pictures[slots] = stylise(self.student, *state, weights, evaluations)
        self.put(self.half + slots, self.pictures[slots])


def errors(
    student: Student, stage: Stage, batch: dict[str, Tensor], share: float = 0.0
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each target with its relative squared errors, `[B]`, of the features and of the Gram matrices.

    The projections are updated first, with that share of the batch.
    """
    for name, features in student(batch["input"], stage.targets, stage.first).items():
        features, target = features.flatten(2), batch[name]
        scale = batch[f"{name}.scale"][:, None, None]
        within, across = scale**2 * gram(features), scale * (target @ features.mT) / target.shape[2]
        if share:
            student.project(name, within.detach().mean(0), across.detach().mean(0), share)
        projection, wanted = student.projections[name], batch[f"{name}.gram"]
        # |P f - t|^2 from the moments alone, which is a fraction of the work of the difference itself.
        explained = (2 * projection * across).sum((1, 2)) - (projection.mT @ projection * within).sum((1, 2))
        gram_error = (projection @ within @ projection.mT - wanted).square().sum((1, 2))
        yield name, 1 - explained / len(projection), gram_error / wanted.square().sum((1, 2))


def solve(student: Student, stage: Stage, gallery: Gallery) -> None:
    """Solve for P over many pictures at once, and scale the metrics so that activations are about 1."""
    with torch.no_grad():
        for number, slots in enumerate(torch.randperm(stage.gallery)[:256].split(16), 1):
            for _ in errors(student, stage, gallery.take(slots), share=1 / number):
                pass
    for name in stage.targets:
        targets, channels = student.projections[name].shape
        student.metrics[name] *= channels / targets / gallery.answers[f"{name}.scale"].float().pow(-2).mean()


def measure(
    student: Student, stage: Stage, side: int, count: int, evaluations: int
) -> dict[str, dict[str, list[float]]]:
    """Errors on held-out photographs, on held-out paintings, and on the former optimised towards the latter."""
    source, teachers = Pictures(seed=1, held_out=True), Teachers()
    photos, paintings = (
        torch.stack([source.crop(side, painting) for _ in range(count)]).split(8) for painting in (False, True)
    )
    optimised = [
        stylise(student, photo, photo, painting, torch.full((len(photo),), 0.1), evaluations)
        for photo, painting in zip(photos, paintings, strict=True)
    ]
    table = {}
    for kind, parts in {"photographs": photos, "paintings": paintings, "optimised": optimised}.items():
        found: dict[str, list[Tensor]] = {name: [] for name in stage.targets}
        for part in parts:
            batch = {key: value.float() for key, value in ask(student, teachers, stage, part).items()}
            with torch.no_grad():
                for name, *pair in errors(student, stage, batch):
                    found[name].append(torch.stack(pair).mean(1))
        table[kind] = {name: torch.stack(pairs).mean(0).tolist() for name, pairs in found.items()}
    return table


def rows(table: dict[str, dict[str, list[float]]]) -> Iterator[str]:
    """Relative squared errors in Markdown, one layer per line."""
    yield "| layer | " + " | ".join(f"{kind}: features | Gram" for kind in table) + " |"
    yield "| --- " * (1 + 2 * len(table)) + "|"
    for name in next(iter(table.values())):
        yield f"| {name} | " + " | ".join("{:.4f} | {:.4f}".format(*kind[name]) for kind in table.values()) + " |"


def train(name: str, steps: int, rate: float, student: Student, resume: bool, output: pathlib.Path) -> None:
    """Train one stage, with a warm-up and a cosine, and write a checkpoint and an export at every measurement."""
    stage, checkpoint, began = STAGES[name], RUNS / f"{name}.pt", time.time()
    layers = NAMES[NAMES.index(stage.first) : max(map(NAMES.index, stage.targets)) + 1]
    weights, biases = (
        [student.state[f"convolutions.{layer}.{kind}"] for layer in layers] for kind in ("weight", "bias")
    )
    optimisers = {10 * rate: Muon(weights, lr=rate), rate: torch.optim.AdamW(biases, weight_decay=0)}
    done = 0
    if resume:
        saved = torch.load(checkpoint, weights_only=True)
        student.network.load_state_dict(saved["network"])
        student.metrics, done = saved["metrics"], saved["step"]
        for optimiser, state in zip(optimisers.values(), saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
    # Read-outs of layers below those that are trained would belong to another network.
    student.metrics = {k: v for k, v in student.metrics.items() if NAMES.index(k) <= NAMES.index(layers[-1])}
    gallery = Gallery(student, stage, Pictures(seed=done))
    solve(student, stage, gallery)
    for step in range(done + 1, steps + 1):
        gallery.renew(stage.batch // 8)
        if step % 8 == 0:
            gallery.optimise(count=8, evaluations=6)
        found = errors(student, stage, gallery.batch(), share=0.05)
        loss = sum((features.mean() + 0.5 * grams.clamp(max=4).mean() for _, features, grams in found), torch.zeros(()))
        student.network.zero_grad()
        loss.backward()
        for base, optimiser in optimisers.items():
            cosine = 0.5 + 0.5 * math.cos(math.pi * step / steps)
            optimiser.param_groups[0]["lr"] = base * min(1, step / 50) * cosine
            optimiser.step()
        if step % 25 == 0:
            print(f"{name} {step} loss {loss.item():.4f} {time.time() - began:.0f} s", flush=True)
        if step % 300 == 0 or step == steps:
            solve(student, stage, gallery)
            table = measure(student, stage, stage.crop, count=16, evaluations=30)
            print("\n".join(rows(table)), flush=True)
            with open(RUNS / f"{name}.jsonl", "a") as curve:
                print(json.dumps({"step": step, "seconds": round(time.time() - began), **table}), file=curve)
            state = {"network": student.network.state_dict(), "metrics": student.metrics, "step": step}
            state["optimisers"] = [optimiser.state_dict() for optimiser in optimisers.values()]
            with files.replacing(checkpoint) as file:
                torch.save(state, file)
            student.export(output)


def main() -> None:
    """Parse the command line and run a stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=[*STAGES, "measure"])
    parser.add_argument("--from", dest="start", type=pathlib.Path, help="exported weights to start from")
    parser.add_argument("--resume", action="store_true", help="continue from the stage's checkpoint in runs/")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument(
        "--rate", type=float, default=2e-3, help="learning rate of the biases; ten times that for the weights"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=pathlib.Path, help="exported weights; default runs/STAGE.safetensors")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    RUNS.mkdir(exist_ok=True)
    student = Student(arguments.start)
    if arguments.stage == "measure":
        stage = STAGES["whole"]
        solve(student, stage, Gallery(student, stage, Pictures(seed=2)))
        print("\n".join(rows(measure(student, stage, side=256, count=16, evaluations=50))))
    else:
        output = arguments.output or RUNS / f"{arguments.stage}.safetensors"
        train(arguments.stage, arguments.steps, arguments.rate, student, arguments.resume, output)


if __name__ == "__main__":
    main()
