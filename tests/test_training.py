"""Training: it learns, it can be interrupted, and what goes wrong is said."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import STYLETX, Machine, Processes
from PIL import Image

import styletx
from styletx import colors, grain, images, losses
from styletx.cli import main
from styletx.errors import MemoryLimitError, OutputError, TrainingError
from styletx.feedforward import models, scales
from styletx.feedforward.networks import Descriptor, Layout, Transformer
from styletx.feedforward.training import Training, checkpoints, records
from styletx.feedforward.training.objective import ADVERSARIAL, TrainingObjective
from styletx.feedforward.training.optimisers import orthogonal
from styletx.feedforward.training.photographs import Crops
from styletx.feedforward.training.steadiness import unsteadiness, window
from styletx.options import Options, TrainingOptions
from styletx.stylizers import OptimizingStylizer

pytest.importorskip("accelerate", reason="training needs the extra styletx[train]")
pytest.importorskip("matplotlib", reason="training needs the extra styletx[train]")

ASSETS = Path(__file__).resolve().parents[1] / "assets"
STYLE = ASSETS / "styles" / "mosaic.jpg"
SLOW = pytest.mark.slow(reason="one signal of two")
TINY = Layout(widths=(8, 16), blocks=1)
QUICK: dict[str, Any] = {
    "widths": TINY.widths,
    "blocks": 1,
    "crop": 64,
    "batch": 2,
    "every": 1000,
    "size": 96,
    "pairs": 0,
    "backbone": "compact",
}
# The same on the command line, with a process that reads photographs.
FLAGS = [
    *("--crop", "64", "--batch", "2", "--workers", "1", "--size", "96", "--pairs", "0"),
    *("--backbone", "compact", "--widths", "8,16", "--blocks", "1"),
]


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 small photographs, cut from our own."""
    folder = tmp_path_factory.mktemp("photographs")
    for path in sorted((ASSETS / "content").glob("*.jpg")):
        with Image.open(path) as original:
            picture = original.convert("RGB").resize((384, 192))
            for index in range(8):
                x, y = index % 4 * 96, index // 4 * 96
                picture.crop((x, y, x + 96, y + 96)).save(folder / f"{path.stem}-{index}.png")
    return folder


@pytest.fixture
def make(photographs: Path, tmp_path: Path) -> Callable[..., Training]:
    def made(name: str = "tiny", *, resume: bool = False, **options: Any) -> Training:
        paths = sorted(photographs.glob("*.png"))
        chosen = TrainingOptions(**QUICK | {"steps": 6} | options)
        output = tmp_path / f"{name}.safetensors"
        return Training(images.read(STYLE), paths, output, chosen, resume=resume, device="cpu", workers=0)

    return made


def state(training: Training) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in training.trained.state_dict().items()}


def test_it_lowers_the_loss_of_photographs_it_does_not_train_on(make: Callable[..., Training]) -> None:
    training = make(steps=60)
    before = training.measure().losses
    held = [step.held for step in training if step.held][-1]
    assert held["total"] < 0.8 * before["total"]
    assert not set(training.held_out) & set(training.photographs)


@pytest.fixture
def painted(photographs: Path, tmp_path: Path) -> Callable[[Training], dict[Path, Path]]:
    """Paints what a training asks for: its colours go round, and a lattice is put over it."""

    def paint(training: Training) -> dict[Path, Path]:
        found = {}
        for path in training.to_paint:
            pixels = images.read(path).pixels[:, [1, 2, 0]]
            pixels[..., ::4, :] *= 0.5
            found[path] = tmp_path / f"painted-{path.stem}.png"
            images.write(found[path], pixels)
        return found

    return paint


def test_it_learns_from_what_was_painted(
    make: Callable[..., Training], painted: Callable[[Training], dict[Path, Path]]
) -> None:
    training = make(steps=60, pairs=12)
    assert len(training.to_paint) == 3 + 12 and not set(training.held_out) - set(training.to_paint)
    training.learn_from(painted(training))
    assert len(training.photographs) == 12
    before, itself, rows = training.measure()
    assert [*rows[0]] == ["photograph", "optimisation", "network, step 0"]
    held = [step.held for step in training if step.held][-1]
    assert held["total"] < 0.9 * before["total"], (held, before, itself)
    assert itself["content"] > 0 and training.measure().rows[0]["photograph"].shape == (1, 3, 96, 96)


def test_what_was_painted_has_no_loss(make: Callable[..., Training]) -> None:
    objective = make().objective
    pixels = torch.rand((2, 3, 48, 64), generator=torch.Generator().manual_seed(0))
    found = objective.like(pixels).losses(pixels)
    assert found["content"] == 0 and found["style"] == pytest.approx(0, abs=1e-6)
    other = objective.like(pixels).losses(pixels.flip(1))
    layers = {*objective.backbone.style_layers, *objective.backbone.content_layers}
    seen, target = (objective.network(given) for given in (pixels.flip(1), pixels))
    pairs = [(seen[layer].float(), target[layer].float()) for layer in layers]  # bfloat16 where a machine has it
    distances = [(one - other).square().sum() / other.square().sum() for one, other in pairs]
    likeness = losses.Difference(pixels)
    difference = likeness.loss(likeness.statistics(losses.terms.whole({losses.PIXELS: pixels.flip(1)})))
    expected = (torch.stack(distances).mean() + difference) / 2
    torch.testing.assert_close(other["content"], expected, rtol=1e-4, atol=0)


def test_a_drawing_teaches_no_colours(photographs: Path, tmp_path: Path) -> None:
    drawing = images.read(STYLE)
    grey = dataclasses.replace(drawing, pixels=drawing.pixels.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    options = TrainingOptions(**QUICK | {"steps": 2})
    output = tmp_path / "grey.safetensors"
    for _ in Training(grey, sorted(photographs.glob("*.png")), output, options, device="cpu", workers=0):
        pass
    pixels = styletx.stylize(torch.rand(1, 3, 48, 64), output, size="original", device="cpu").pixels
    assert (pixels.amax(1) - pixels.amin(1)).max() < 0.5 / 255 and pixels.std() > 0.01


def test_it_needs_something_to_learn_from(make: Callable[..., Training]) -> None:
    assert make().to_paint == []
    training = make("other", pairs=4)
    held, *_ = training.to_paint
    for found in ({}, {held: held}):
        with pytest.raises(
            TrainingError, match=r"^0 of the photographs were painted, which is too little; raise pairs"
        ):
            training.learn_from(found)


def test_a_steady_network_paints_what_moved_at_its_new_place() -> None:
    photograph = torch.rand((1, 3, 72, 72), generator=torch.Generator().manual_seed(0))

    class Steady(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return 1 - pixels

    class Fixed(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels * (torch.arange(pixels.shape[-1]) % 2)

    for network, is_steady in ((Steady(), True), (Fixed(), False)):
        output = network(window(photograph))
        losses = [float(unsteadiness(network, photograph, output, seed)) for seed in range(8)]
        assert (max(losses) < 1e-6) == is_steady


class Negative(torch.nn.Module):
    """Paints each pixel's opposite, a little brighter with each unit of `more`."""

    descriptor = Descriptor("negative")

    def __init__(self) -> None:
        super().__init__()
        self.more = torch.nn.Parameter(torch.zeros(()))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return 1 - pixels + self.more


def test_crops_are_painted_at_two_scales_as_pictures_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grain, "added", lambda pixels, *_, **__: pixels)
    waves = (torch.arange(96) / 4).sin()
    pixels = 0.5 + 0.2 * (waves[:, None] * waves + torch.tensor([0.0, 0.2, 0.4]).view(3, 1, 1))[None]
    *_, (_, expected) = scales.repaint(Negative(), pixels, [(48, 48), (96, 96)], seed=0)
    torch.testing.assert_close(scales.repainted(Negative(), pixels), expected, rtol=0, atol=0.02)
    assert (expected - (1 - pixels)).abs().mean() > 0.05


def test_both_scales_learn() -> None:
    network = Negative()
    scales.repainted(network, torch.full((1, 3, 32, 32), 0.5)).mean().backward()
    assert network.more.grad is not None and float(network.more.grad) == pytest.approx(1 - scales.MIX)


@pytest.mark.parametrize("pairs", [0, 12])
def test_a_resumed_training_is_the_uninterrupted_one(
    make: Callable[..., Training], painted: Callable[[Training], dict[Path, Path]], pairs: int
) -> None:
    def made(name: str, *, resume: bool = False) -> Training:
        training = make(name, resume=resume, pairs=pairs)
        if pairs:
            training.learn_from(painted(training))
        return training

    whole = made("whole")
    list(whole)
    first = made("halved")
    for step in first:
        if step.step == 3:
            break
    first.save()
    second = made("halved", resume=True)
    assert second.done == 3
    assert [step.step for step in second] == [4, 5, 6]
    for name, tensor in state(whole).items():
        assert torch.equal(tensor, state(second)[name]), name


def test_what_a_training_leaves(make: Callable[..., Training]) -> None:
    training = make("mine", steps=4, every=2)
    list(training)
    folder = training.folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.pt",
        "curve.png",
        "log.jsonl",
        "samples-000002.png",
        "samples-000004.png",
    ]
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()] == [2, 4]
    sheet = np.asarray(Image.open(folder / "samples-000004.png"))
    assert sheet.std() > 10
    model = models.read(training.output)
    assert model.name == "mine"
    assert model.about["style"] == "mosaic.jpg"
    assert model.about["steps"] == 4
    assert model.about["training"]["pairs"] == 0
    for name, tensor in model.network.state_dict().items():
        torch.testing.assert_close(tensor, state(training)[name], rtol=1e-3, atol=2e-3)  # 8 bits


@pytest.mark.parametrize("name", ["log.jsonl", "curve.png", "samples-000001.png"])
def test_another_programs_files_are_never_replaced(make: Callable[..., Training], tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.training").mkdir()
    (tmp_path / "mine.training" / name).write_text("notes")
    with pytest.raises(TrainingError, match=f"mine.training already holds {name}; move it away"):
        make("mine")


def test_bad_photographs_are_skipped_and_counted(photographs: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    crops = Crops([bad, next(photographs.glob("*.png"))], 64, seed=0)
    items = [crops[index] for index in range(8)]
    assert all(pixels.shape == (1, 3, 64, 64) for pixels, _ in items)
    assert {name for _, names in items for name in names} == {"bad.png"}
    assert torch.equal(crops[3][0], items[3][0])
    assert not len(Crops([bad], 64, seed=0)[0][0])


def test_crops_get_the_palette_by_the_colours_of_the_whole_photograph(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in ("added", "clouded"):
        monkeypatch.setattr(grain, function, lambda pixels, *_, **__: pixels)
    path = next(photographs.glob("*.png"))
    palette = colors.Colors(
        torch.tensor([0.6, 0.5, 0.4]).double(), torch.diag(torch.tensor([0.02, 0.01, 0.01])).double()
    )
    (own, _), (moved, _) = Crops([path], 64, seed=0)[3], Crops([path], 64, seed=0, palette=palette)[3]
    by = colors.move(images.read(path).pixels, palette)
    torch.testing.assert_close(moved, colors.moved(own, by))
    assert (moved - own).abs().mean() > 0.02


def test_what_gives_no_crop_is_left_out_and_named(photographs: Path, tmp_path: Path) -> None:
    strip = tmp_path.parent / "a-strip.png"  # the first of all
    Image.new("RGB", (640, 40), "red").save(strip)
    paths = [strip, *sorted(photographs.glob("*.png"))]
    training = Training(images.read(STYLE), paths, tmp_path / "b.safetensors", TrainingOptions(**QUICK), device="cpu")
    assert strip not in training.held_out and strip not in training.photographs
    assert [str(note) for note in training.notes if "strip" in str(note)] == [
        f"Left out: {strip}: 640×40 px is too long and thin for a crop; cut it into parts."
    ]
    assert {name for index in range(4) for name in Crops(paths[:2], 64, seed=index)[0][1]} == {"a-strip.png"}


@pytest.mark.parametrize("failing", ["measure", "records.write", "checkpoints.write", "models.write"])
def test_what_goes_wrong_at_a_checkpoint_costs_a_note_and_not_the_training(
    make: Callable[..., Training], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    training = make(steps=4, every=2)
    owner, _, name = failing.rpartition(".")
    target: Any = {"": training, "records": records, "checkpoints": checkpoints, "models": models}[owner]
    works, calls = getattr(target, name), list[int]()

    def once(*arguments: Any) -> Any:
        calls.append(training.done)
        if training.done == 2:
            raise RuntimeError("no luck")
        return works(*arguments)

    monkeypatch.setattr(target, name, once)
    told = {step.step: [str(note) for note in step.notes] for step in training if step.notes}
    assert calls == [2, 4] and list(told) == [2]
    assert len(told[2]) == 1 and told[2][0].endswith(" at step 2: no luck.")
    assert training.network.training
    assert models.read(training.output).about["steps"] == make(steps=4, every=2, resume=True).done == 4


def test_an_error_keeps_the_steps_since_the_last_checkpoint(
    make: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = make(steps=6, every=2)
    update = training._update

    def failing(pixels: torch.Tensor) -> dict[str, float]:
        if training.done == 3:
            raise MemoryError
        return update(pixels)

    monkeypatch.setattr(training, "_update", failing)
    with pytest.raises(MemoryError):
        list(training)
    assert make(steps=6, every=2, resume=True).done == 3


def test_the_last_model_must_be_written(make: Callable[..., Training]) -> None:
    training = make(steps=2)
    training.output.mkdir()
    with pytest.raises(OutputError):
        list(training)
    training.output.rmdir()
    assert make(steps=2, resume=True).done == 2


def test_a_diverging_training_stops_and_keeps_what_was_saved(
    make: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = make(every=2, steps=40)
    with pytest.raises(TrainingError, match=r"diverges: .*; start anew with a smaller rate, such as 0.005$"):
        for step in training:
            if step.step == 3:
                training.trained.last.weight.data.fill_(torch.nan)
    assert models.read(training.output).about["steps"] == 2
    assert make(every=2, steps=40, resume=True).done == 2


def test_another_trainings_checkpoint_is_refused(make: Callable[..., Training]) -> None:
    training = make(steps=2)
    list(training)
    before = training.output.read_bytes()
    with pytest.raises(TrainingError, match=r"checkpoint.pt belongs to a training with other options"):
        make(steps=2, style_weight=3.0, resume=True)
    path = training.folder / "checkpoint.pt"
    whole = torch.load(path, weights_only=True)
    for spoil in ("nonsense", "network", "average", "done"):
        state = copy.deepcopy(whole)
        if spoil == "network":
            state["network"]["last.bias"] = torch.zeros(7)
        elif spoil == "average":
            state["optimisers"][0]["state"][0]["average"] = torch.zeros(2, 3)
        elif spoil == "done":
            state["done"] = float("inf")
        torch.save(state, path)
        if spoil == "nonsense":
            path.write_bytes(b"nonsense")
        with pytest.raises(TrainingError, match=r"checkpoint.pt is damaged or not a checkpoint"):
            make(steps=2, resume=True)
    assert training.output.read_bytes() == before


def test_another_painting_of_the_same_name_is_another_training(photographs: Path, tmp_path: Path) -> None:
    paths, output = sorted(photographs.glob("*.png")), tmp_path / "a.safetensors"
    options = TrainingOptions(**QUICK | {"steps": 1})
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / folder / "p.png")
    one, other = (images.read(tmp_path / folder / "p.png") for folder in ("one", "other"))
    list(Training(one, paths, output, options, device="cpu", workers=0))
    with pytest.raises(TrainingError, match="belongs to a training with other options, photographs or another style"):
        Training(other, paths, output, options, device="cpu", workers=0, resume=True)


def test_a_step_that_does_not_fit_into_memory_is_refused(make: Callable[..., Training], machine: Machine) -> None:
    machine.memory(2**30)
    with pytest.raises(MemoryLimitError, match=r"a step of 8 crops of 2048×2048 px needs .* reduce batch or crop"):
        make("large", batch=8, crop=2048)
    with pytest.raises(MemoryLimitError, match=r"8000×\d+ px needs about .* reduce size"):
        make("large", size=8000)


def test_a_model_that_is_there_is_not_replaced(make: Callable[..., Training], tmp_path: Path) -> None:
    (tmp_path / "tiny.safetensors").write_bytes(b"somebody's")
    with pytest.raises(TrainingError, match="exists, and a model is never replaced by another training; move it away"):
        make()
    assert (tmp_path / "tiny.safetensors").read_bytes() == b"somebody's"


def test_a_training_can_begin_from_a_trained_style(photographs: Path, tmp_path: Path) -> None:
    start = models.Model("x", Transformer(Layout((4, 8), blocks=1)), {})
    paths = sorted(photographs.glob("*.png"))
    training = Training(
        images.read(STYLE), paths, tmp_path / "b.safetensors", TrainingOptions(**QUICK), start=start, device="cpu"
    )
    assert training.layout == start.network.layout
    for name, tensor in start.network.state_dict().items():
        assert torch.equal(tensor, state(training)[name])


def test_orthogonal_makes_singular_values_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((8, 40), (40, 8)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=generator)))
        assert values.min() > 0.6 and values.max() < 1.3


def train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["train", str(STYLE), *map(str, arguments)])


@pytest.mark.parametrize(
    ("photos", "output", "said"),
    [
        ("missing", "m.safetensors", "missing is not a folder; give a folder of photographs"),
        ("x" * 300, "m.safetensors", "is not a folder; give a folder of photographs"),
        ("empty", "m.safetensors", "--photos: 0 are too few to train on; give a folder of at least 8"),
        ("empty", "m.pth", "m.pth does not end in .safetensors"),
        ("empty", "file/m.safetensors", "cannot be written"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(tmp_path: Path, photos: str, output: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    done = train("--photos", tmp_path / photos, "-o", tmp_path / output, "--backbone", "compact")
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_the_command_trains_and_goes_on(photographs: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.safetensors"
    arguments: list[str | Path] = ["--photos", photographs, "-o", output, "--json"]
    arguments += ["--steps", "3", *FLAGS]
    done = train(*arguments)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["steps"], report["stopped"]) == (3, False)
    assert report["losses"].keys() == {"total", "content", "style", "tv"}
    assert models.read(output).network.layout == Layout((8, 16), blocks=1, lowpass=True, bridges=True)
    refused = train(*arguments)
    assert refused.exit_code == 2 and "already holds a training; continue it with --resume" in refused.stderr
    again = train(*arguments, "--resume")
    assert again.exit_code == 0 and json.loads(again.stdout)["steps"] == 3


def test_the_command_paints_what_it_learns_from(photographs: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.safetensors"
    arguments: list[str | Path] = ["--photos", photographs, "-o", output, *FLAGS[:-2], "--pairs", "1", "--size", "80"]
    done = train(*arguments, "--preset", "quick", "--steps", "2", "--widths", "4,8", "--blocks", "1")
    assert done.exit_code == 0, done.output
    assert re.search(r"2 steps in \d+ min; samples and curve are in .*mine.training$", done.stderr)
    assert len(list((tmp_path / "mine.training" / "pairs").rglob("*.png"))) == 3 + 1
    about = models.read(output).about
    assert (about["training"]["pairs"], about["training"]["steps"], about["photographs"]) == (1, 2, 1)


def test_a_model_to_start_from_brings_its_layout(photographs: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = ["--photos", photographs, "-o", tmp_path / "mine.safetensors", "--blocks", "2"]
    done = train(*arguments, "--from", "mosaic")
    assert done.exit_code == 2
    assert "--from takes the layout of its model; remove --widths, --blocks and --expansion" in done.stderr


@pytest.mark.parametrize(
    ("flags", "start"), [([], "starry-night"), (["--from", "random"], None), (["--blocks", "2"], None)]
)
def test_a_training_starts_from_a_bundled_style_unless_it_is_told_otherwise(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], start: str | None
) -> None:
    class Made(Exception):
        pass

    def make(*_: object, start: models.Model | None, **__: object) -> None:
        raise Made(start and start.name)

    monkeypatch.setattr("styletx.feedforward.training.Training", make)
    done = train("--photos", photographs, "-o", tmp_path / "mine.safetensors", *flags)
    assert isinstance(done.exception, Made) and done.exception.args == (start,)


@pytest.mark.parametrize("painting", ["mosaic", "pen"])
def test_photographs_get_clouds_where_the_optimisation_gives_them(painting: str) -> None:
    picture = images.read(STYLE.with_name(f"{painting}.jpg"))
    found = TrainingObjective(picture, TrainingOptions(**QUICK), torch.device("cpu")).clouds
    assert found == OptimizingStylizer(picture, Options(device="cpu")).painting.lead == (painting == "mosaic")


def test_the_losses_are_those_of_the_optimisation_with_the_layers_shares(make: Callable[..., Training]) -> None:
    objective = make().objective
    assert set(objective.backbone.style_layers.values()) != {1.0}, "compact's shares are not all alike"
    photograph, repainted = torch.rand((2, 1, 3, 48, 64), generator=torch.Generator().manual_seed(0)).unbind()
    found = objective.of(photograph).losses(repainted)
    painting = images.read(STYLE).pixels
    painting = images.resize(painting, images.fit((painting.shape[-2], painting.shape[-1]), QUICK["size"]))
    given, target, style = (objective.network(pixels) for pixels in (repainted, photograph, painting))

    def grams(features: torch.Tensor) -> torch.Tensor:
        flat = features.double().flatten(2)
        return torch.einsum("bcn,bdn->bcd", flat, flat) / flat.shape[2]

    def mean(losses: dict[str, torch.Tensor], shares: dict[str, float]) -> torch.Tensor:
        return torch.stack([shares[layer] * losses[layer] for layer in shares]).sum() / sum(shares.values())

    style_losses, content_losses = {}, {}
    for layer in objective.backbone.style_layers:
        expected = grams(style[layer])
        style_losses[layer] = (grams(given[layer]) - expected).square().sum() / expected.square().sum()
    for layer in objective.backbone.content_layers:
        difference = (given[layer] - target[layer]).double()
        content_losses[layer] = difference.square().sum() / target[layer].double().square().sum()
    style_loss = mean(style_losses, objective.backbone.style_layers)
    content_loss = mean(content_losses, objective.backbone.content_layers)
    rest = {"tv": 0.0, "steadiness": 1.0, "adversarial": ADVERSARIAL / 2}
    assert objective.weights(share=0.5) == {"content": 1.0, "style": 30.0, **rest}
    for name, value in (("style", style_loss), ("content", content_loss)):
        torch.testing.assert_close(found[name].double(), value, rtol=1e-4, atol=0)


def test_shallow_weights_train_on_what_they_reach(make: Callable[..., Training], tiny_weights: Path) -> None:
    training = make(backbone="vgg19", weights=str(tiny_weights), steps=1)
    assert list(training.objective.style) == ["relu1_1", "relu2_1"]
    assert list(training.objective.backbone.content_layers) == ["relu2_1"]
    assert [step.step for step in training] == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=SLOW)])
def test_a_signal_to_all_of_its_processes_keeps_what_was_learnt(
    processes: Processes, photographs: Path, tmp_path: Path, number: int
) -> None:
    output = tmp_path / "mine.safetensors"
    options = ["--steps", "100000", "--every", "3", *FLAGS]
    process = processes.start(
        *STYLETX, "train", str(STYLE), "--photos", photographs, "-o", output, *options, start_new_session=True
    )
    while not output.exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 128 + number and b"Traceback" not in err, err
    told = re.search(rb"Stopped at step (\d+); continue with --resume", err)
    assert told is not None
    saved = torch.load(output.with_suffix(".training") / "checkpoint.pt", weights_only=True)
    assert saved["done"] == int(told[1]) >= 3
