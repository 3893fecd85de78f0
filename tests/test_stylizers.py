"""The library's front, on small pictures and a small network with random weights."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
import sys
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import Machine
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import styletx
from styletx import devices, files, images, losses
from styletx.colors import colors, transferred
from styletx.errors import MemoryLimitError, OptionError, PictureError, WeightsError
from styletx.losses import PIXELS, Matching, relative_distance
from styletx.losses.terms import whole
from styletx.matching import Query, grid, hypercolumns, match
from styletx.notes import Note
from styletx.optimization import pyramid
from styletx.stylizers import (
    OptimizingStylizer,
    Result,
    before_finishing,
    finishing,
    load_stylizer,
    notebook,
    optimizing,
)

Options = Callable[..., dict[str, Any]]
COMPACT: dict[str, Any] = {"backbone": "compact", "device": "cpu", "precision": "float32"}


@pytest.fixture
def quick(tiny_weights: Path) -> Options:
    """Options of a run that takes a fraction of a second."""

    def options(**changed: Any) -> dict[str, Any]:
        return {
            "weights": str(tiny_weights),
            "style_layers": "relu1_1,relu2_1",
            "content_layers": "relu2_1",
            "size": "original",
            "iterations": 3,
            "device": "cpu",
            "precision": "float32",
        } | changed

    return options


@pytest.fixture
def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paints just the picture, for tests of what is exact only then."""
    monkeypatch.setattr(optimizing, "MARGIN", 0)


@pytest.fixture
def two_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a picture of 64×48 px gets a coarser scale, of 32×24 px."""
    monkeypatch.setattr(pyramid, "COARSEST_SIDE", 32)


def array(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def png_bits(path: Path) -> int:
    """The depth that a PNG's header tells (specification, section 11.2.2)."""
    return path.read_bytes()[24]


def loaded(style: Any, **options: Any) -> OptimizingStylizer:
    stylizer = styletx.load_stylizer(style, **options)
    assert isinstance(stylizer, OptimizingStylizer)
    return stylizer


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


# Pictures in and out


def test_every_kind_of_source_gives_the_same(content_picture: Path, style_picture: Path, quick: Options) -> None:
    values = array(content_picture)
    planes = torch.from_numpy(values.copy()).permute(2, 0, 1)
    sources: list[Any] = [
        content_picture,
        str(content_picture),
        content_picture.read_bytes(),
        io.BytesIO(content_picture.read_bytes()),
        Image.open(content_picture),
        values,
        planes,
        planes[None],
        planes.float() / 255,
        values / np.float32(255),
    ]
    stylizer = styletx.load_stylizer(style_picture, **quick())
    results = [stylizer(source).pixels for source in sources]
    assert not torch.equal(results[0], planes[None].float() / 255)
    for found in results[1:]:
        assert torch.equal(found, results[0])
    for style in (str(style_picture), Image.open(style_picture), array(style_picture)):
        assert torch.equal(styletx.stylize(content_picture, style, **quick()).pixels, results[0])


def test_result_is_what_is_promised(content_picture: Path, style_picture: Path, quick: Options, tmp_path: Path) -> None:
    result = styletx.stylize(content_picture, style_picture, **quick())
    assert result.pixels.dtype == torch.float32 and result.pixels.device.type == "cpu"
    assert result.pixels.shape == (1, 3, 48, 64) and result.pixels.is_contiguous()
    assert result.pixels.min() >= 0 and result.pixels.max() <= 1
    assert (result.image.mode, result.image.size, result.alpha, result.bits) == ("RGB", (64, 48), None, 8)
    rounded = np.rint(result.pixels[0].permute(1, 2, 0).double().numpy() * 255)
    np.testing.assert_array_equal(np.asarray(result.image), rounded)
    result.save(tmp_path / "out.png")
    np.testing.assert_array_equal(array(tmp_path / "out.png"), rounded)
    for name in ("out.jpg", "out.webp", "out.tif"):
        result.save(tmp_path / name)
        assert Image.open(tmp_path / name).size == (64, 48)


def test_the_painting_is_approached_and_the_photograph_kept(
    content_picture: Path, style_picture: Path, quick: Options, no_margin: None
) -> None:
    """A picture's own losses, computed anew from the result, are lower than before, and as the run says."""
    stylizer = loaded(style_picture, **quick(iterations=8, style_weight=10.0, content_weight=2.0, match=0))
    result = stylizer(content_picture)

    def measured(pixels: Tensor) -> tuple[float, float]:
        with torch.no_grad():
            found, wanted, photo = (
                stylizer.network(images.read(source).pixels) for source in (pixels, style_picture, content_picture)
            )

        def gram(features: Tensor) -> np.ndarray:
            rows = features[0].flatten(1).double().numpy()
            return rows @ rows.T / rows.shape[1]

        style = 0.0
        for layer in ("relu1_1", "relu2_1"):
            target = gram(wanted[layer])
            style += ((gram(found[layer]) - target) ** 2).sum() / (target**2).sum() / 2
        kept = (found["relu2_1"] - photo["relu2_1"]).double().square().sum() / photo["relu2_1"].double().square().sum()
        return style, float(kept)

    style_before, _ = measured(images.read(content_picture).pixels)
    style, content = measured(result.pixels)
    assert style < 0.5 * style_before
    told = result.metadata["losses"]
    assert told["style"] == pytest.approx(style, rel=1e-3) and told["content"] == pytest.approx(content, rel=1e-3)
    assert told["total"] == pytest.approx((10 * style + 2 * content) / 12, rel=1e-3)


def test_the_border_is_as_lively_as_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grey picture in a coloured pattern: neighbours along its edges differ as much as those within."""
    pattern = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    grey = np.full((96, 96, 3), 128, np.uint8)

    def liveliness() -> float:
        painted = styletx.stylize(grey, pattern, content_weight=0.001, iterations=16, size=256, **COMPACT).pixels[0]
        edges = [painted[:, 0], painted[:, -1], painted[:, :, 0], painted[:, :, -1]]
        at_the_edge = torch.stack([edge.diff().abs().mean() for edge in edges]).mean()
        return float(at_the_edge / painted[:, 20:-20].diff().abs().mean())

    assert 0.8 < liveliness() < 1.25
    monkeypatch.setattr(optimizing, "MARGIN", 0)
    assert liveliness() < 0.75


def test_the_margin_is_cut_off_where_it_was_put(content_picture: Path, style_picture: Path, quick: Options) -> None:
    result = styletx.stylize(content_picture, style_picture, **quick(style_weight=0.0, match=0))
    torch.testing.assert_close(result.pixels, images.read(content_picture).pixels, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((48, 64), "original", (48, 64)),
        ((48, 64), 64, (48, 64)),
        ((48, 64), 32, (24, 32)),
        ((48, 64), 100, (75, 100)),  # enlarged
        ((100, 37), 64, (64, 24)),  # 23.68
        ((37, 100), 72, (27, 72)),  # 26.64
        ((50, 50), 33, (33, 33)),
    ],
)
def test_long_side_of_the_result(
    style_picture: Path, quick: Options, shape: tuple[int, int], size: int | str, expected: tuple[int, int]
) -> None:
    content = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    result = styletx.stylize(content, style_picture, **quick(size=size, iterations=1))
    assert result.pixels.shape == (1, 3, *expected)
    assert result.metadata["size"] == [expected[1], expected[0]]


@pytest.mark.parametrize("size", ["original", 40])
def test_alpha_is_kept(
    content_picture: Path, style_picture: Path, quick: Options, tmp_path: Path, size: int | str
) -> None:
    alpha = np.tile(np.linspace(1, 255, 64).round().astype(np.uint8), (48, 1))
    content = np.dstack([array(content_picture), alpha])
    result = styletx.stylize(content, style_picture, **quick(size=size))
    height, width = (48, 64) if size == "original" else (30, 40)
    assert result.image.mode == "RGBA" and result.image.size == (width, height)
    result.save(tmp_path / "out.png")
    found = np.asarray(Image.open(tmp_path / "out.png"))[..., 3]
    expected = np.asarray(Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(found.astype(int), expected, atol=0 if size == "original" else 2)
    # A style's transparency is no matter of the result.
    assert styletx.stylize(content[..., :3].copy(), content, **quick(iterations=1)).alpha is None


def test_sixteen_bits_stay_sixteen(style_picture: Path, quick: Options, tmp_path: Path) -> None:
    content = np.random.default_rng(0).integers(0, 65536, (48, 64, 3)).astype(np.uint16)
    result = styletx.stylize(content, style_picture, **quick())
    assert result.bits == 16
    result.save(tmp_path / "deep.png")
    assert png_bits(tmp_path / "deep.png") == 16
    saved = images.read(tmp_path / "deep.png")
    torch.testing.assert_close(saved.pixels, result.pixels, rtol=0, atol=0.51 / 65535)
    result.save(tmp_path / "shallow.png", bits=8)
    assert png_bits(tmp_path / "shallow.png") == 8
    result.save(tmp_path / "shallow.jpg")
    assert Image.open(tmp_path / "shallow.jpg").size == (64, 48)
    plain = styletx.stylize((content // 257).astype(np.uint8), style_picture, **quick(iterations=1))
    plain.save(tmp_path / "plain.png")
    assert png_bits(tmp_path / "plain.png") == 8


def test_metadata_tells_how_it_was_made(
    content_picture: Path, style_picture: Path, tiny_weights: Path, quick: Options, tmp_path: Path
) -> None:
    options = quick(style_layers="relu1_1=0.25,relu2_1")
    result = styletx.stylize(str(content_picture), str(style_picture), **options)
    assert json.loads(json.dumps(result.metadata)) == result.metadata
    assert set(result.metadata.pop("losses")) == {"total", "content", "style", "matching", "tv"}
    assert result.metadata == {
        "styletx": styletx.__version__,
        "torch": torch.__version__,
        "content": content_picture.name,
        "content_sha256": files.sha256(content_picture.read_bytes()),
        "style": style_picture.name,
        "style_sha256": files.sha256(style_picture.read_bytes()),
        "options": dataclasses.asdict(styletx.Options(**options).resolved()) | {"weights": tiny_weights.name},
        "method": "optimisation",
        "backbone": "vgg19",
        "weights": {
            "origin": "file",
            "file": tiny_weights.name,
            "sha256": hashlib.sha256(tiny_weights.read_bytes()).hexdigest(),
        },
        "style_layers": {"relu1_1": 0.25, "relu2_1": 1.0},
        "content_layers": {"relu2_1": 1.0},
        "device": "cpu",
        "precision": "float32",
        "size": [64, 48],
    }
    result.save(tmp_path / "out.png")
    assert images.read_metadata(tmp_path / "out.png") == result.metadata


def test_paths_may_be_path_objects(
    content_picture: Path, style_picture: Path, tiny_weights: Path, quick: Options, tmp_path: Path
) -> None:
    result = styletx.stylize(
        content_picture, style_picture, **quick(weights=tiny_weights, init=style_picture, iterations=1)
    )
    result.save(tmp_path / "out.png")
    told = images.read_metadata(tmp_path / "out.png")
    assert (told["options"]["weights"], told["options"]["init"]) == (tiny_weights.name, style_picture.name)
    options = quick(weights=tiny_weights, init=style_picture, iterations=1, embed_paths=True)
    told = styletx.stylize(content_picture, style_picture, **options).metadata
    assert (told["content"], told["style"]) == (str(content_picture), str(style_picture))
    assert (told["options"]["weights"], told["options"]["init"]) == (str(tiny_weights), str(style_picture))


def test_a_stripped_result_tells_nothing(content_picture: Path, style_picture: Path, quick: Options) -> None:
    result = styletx.stylize(content_picture, style_picture, **quick(strip_metadata=True))
    stream = io.BytesIO()
    result.save(stream)
    assert result.metadata["content"] == content_picture.name
    with pytest.raises(PictureError, match="has no styletx metadata"):
        images.read_metadata(stream.getvalue())


# The run


def test_style_is_looked_at_once_a_scale(
    content_picture: Path, style_picture: Path, quick: Options, two_scales: None, no_margin: None
) -> None:
    stylizer = loaded(style_picture, **quick())
    calls: list[tuple[int, ...]] = []
    stylizer.network.register_forward_hook(lambda module, args, output: calls.append(tuple(args[0].shape[-2:])))
    counts = []
    for picture in (content_picture, array(content_picture)[:, ::-1].copy(), array(style_picture)):
        run = stylizer.start(picture)
        calls.clear()
        evaluations = len(list(run))
        assert set(calls) == {(24, 32), (48, 64)}
        counts.append(len(calls) - evaluations)
    # Besides the evaluations: content at each of two scales, and what is matched at the second. Of the painting, only
    # with the first picture, both scales and once as a whole.
    assert counts == [6, 3, 3]


def test_a_run_can_be_stopped(content_picture: Path, style_picture: Path, quick: Options, two_scales: None) -> None:
    run = styletx.load_stylizer(style_picture, **quick()).start(content_picture)
    original = images.read(content_picture).pixels
    with pytest.raises(RuntimeError, match="no result before the first step"):
        run.result  # noqa: B018
    assert run.metadata["losses"] == {}
    steps = []
    for step in run:
        steps.append(step)
        assert run.last is step
        result = run.result
        assert run.result is result
        assert result.pixels.shape == original.shape
        torch.testing.assert_close(result.pixels, images.resize(step.pixels, (48, 64)), rtol=0, atol=0)
        assert result.metadata["losses"] == step.losses
        if step.scale == 1 and step.iteration == 2:
            break
    assert {tuple(step.pixels.shape[-2:]) for step in steps} == {(24, 32), (48, 64)}
    stopped = run.result
    assert not torch.equal(stopped.pixels, original)
    # The same run again starts from its beginning and goes the same way.
    again = [step.losses for step in run]
    assert again[: len(steps)] == [step.losses for step in steps] and len(again) == len(steps) + 1


def test_a_stylizer_remembers_nothing_of_earlier_pictures(
    content_picture: Path, style_picture: Path, quick: Options
) -> None:
    stylizer = styletx.load_stylizer(style_picture, **quick())
    first = stylizer(content_picture).pixels
    stylizer(array(content_picture)[::-1].copy())
    assert torch.equal(stylizer(content_picture).pixels, first)


def test_what_went_in_is_not_changed(content_picture: Path, style_picture: Path, quick: Options) -> None:
    content = torch.from_numpy(array(content_picture).copy()).permute(2, 0, 1).float() / 255
    style = torch.from_numpy(array(style_picture).copy()).permute(2, 0, 1).float() / 255
    before = content.clone(), style.clone()
    styletx.stylize(content, style, **quick(init="style"))
    assert torch.equal(content, before[0]) and torch.equal(style, before[1])


def test_threads_do_not_disturb_one_another(content_picture: Path, style_picture: Path, quick: Options) -> None:
    styles = [style_picture, array(style_picture)[:, ::-1, ::-1].copy()]
    jobs = [(style, {"init": "noise", "seed": number, "size": 80}) for number, style in enumerate(styles)]

    def repaint(job: tuple[Any, dict[str, Any]]) -> Tensor:
        style, options = job
        return styletx.stylize(content_picture, style, **quick(iterations=6, **options)).pixels

    alone = [repaint(job) for job in jobs]
    together: list[Tensor | None] = [None, None]
    start = threading.Barrier(2)

    def work(number: int) -> None:
        start.wait(300)
        together[number] = repaint(jobs[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    for one, other in zip(alone, together, strict=True):
        assert other is not None and torch.equal(one, other)


# Where it starts


def first_step(content: Any, style: Any, options: dict[str, Any]) -> Tensor:
    run = styletx.load_stylizer(style, **options).start(content)
    return next(iter(run)).pixels


def test_noise_comes_from_the_seed_alone(content_picture: Path, style_picture: Path, quick: Options) -> None:
    def repainted(seed: int, around: int) -> Tensor:
        torch.manual_seed(around)
        np.random.seed(around)
        return styletx.stylize(content_picture, style_picture, **quick(init="noise", seed=seed)).pixels

    assert torch.equal(repainted(5, around=1), repainted(5, around=2))
    assert not torch.equal(repainted(5, around=1), repainted(6, around=1))
    noise = first_step(content_picture, style_picture, quick(init="noise", seed=5))
    assert noise.mean().item() == pytest.approx(0.5, abs=0.02)
    assert noise.std().item() == pytest.approx(12**-0.5, abs=0.02)


def test_content_style_or_a_file_to_start_from(content_picture: Path, style_picture: Path, quick: Options) -> None:
    photo, painting = (images.read(path).pixels for path in (content_picture, style_picture))
    recoloured = transferred(photo, colors(painting))
    for init, expected in (("content", recoloured), ("style", painting), (str(style_picture), painting)):
        found = first_step(content_picture, style_picture, quick(init=init))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    found = first_step(content_picture, style_picture, quick(match=0))
    torch.testing.assert_close(found, photo, rtol=0, atol=0)
    with pytest.raises(PictureError, match=r"nowhere\.png"):
        styletx.load_stylizer(style_picture, **quick(init="nowhere.png"))
    with pytest.raises(OptionError, match="init contnet: there is no such file; did you mean 'content'"):
        styletx.load_stylizer(style_picture, **quick(init="contnet"))


def test_a_run_may_start_from_a_picture_of_its_own(content_picture: Path, style_picture: Path, quick: Options) -> None:
    stylizer = styletx.load_stylizer(style_picture, **quick(init="noise"))
    ground = np.full((30, 50, 3), 77, np.uint8)
    first = next(iter(stylizer.start(content_picture, initial=ground)))
    torch.testing.assert_close(first.pixels, torch.full((1, 3, 48, 64), 77 / 255), rtol=0, atol=1e-6)
    assert not torch.equal(next(iter(stylizer.start(content_picture))).pixels, first.pixels)
    with pytest.raises(OptionError, match="initial is for the optimisation"):
        styletx.load_stylizer("mosaic", device="cpu").start(content_picture, initial=ground)


# Weights and layers


def weights_file(tiny_weights: Path, folder: Path, change: Callable[[Tensor], Tensor]) -> str:
    state = {name: change(tensor) for name, tensor in safetensors.torch.load_file(tiny_weights).items()}
    safetensors.torch.save_file(state, folder / "changed.safetensors")
    return str(folder / "changed.safetensors")


@pytest.mark.parametrize("factor", [float("nan"), 1e20])
def test_weights_that_give_no_numbers(
    content_picture: Path, style_picture: Path, tiny_weights: Path, quick: Options, tmp_path: Path, factor: float
) -> None:
    weights = weights_file(tiny_weights, tmp_path, lambda tensor: tensor * factor)
    with pytest.raises(WeightsError) as error:
        styletx.stylize(content_picture, style_picture, **quick(weights=weights))
    assert weights in one_line(error)


def test_shallow_weights_are_used_as_far_as_they_reach(
    content_picture: Path, style_picture: Path, quick: Options
) -> None:
    stylizer = styletx.load_stylizer(style_picture, **quick(style_layers=None, content_layers=None))
    messages = [str(note) for note in stylizer.notes]
    assert [len(message.splitlines()) for message in messages] == [1] * len(messages)
    assert any("style" in message and "relu1_1, relu2_1" in message for message in messages)
    assert any("content" in message and "relu2_1" in message for message in messages)
    told = stylizer.start(content_picture).metadata
    assert told["style_layers"] == {"relu1_1": 1.0, "relu2_1": 1.0} and told["content_layers"] == {"relu2_1": 1.0}
    asked_for = styletx.load_stylizer(style_picture, **quick())
    assert asked_for.notes == ()
    assert torch.equal(stylizer(content_picture).pixels, asked_for(content_picture).pixels)


def test_notes_are_kept_where_they_belong(style_picture: Path, quick: Options) -> None:
    """And nothing is said by Python's warnings, which are for programmers."""
    stream = io.BytesIO()
    frames = [Image.fromarray(array(style_picture)), Image.new("RGB", (64, 48))]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stylizer = styletx.load_stylizer(stream.getvalue(), **quick(compile=True))
        run = stylizer.start(stream.getvalue())
        trained = styletx.load_stylizer("mosaic", device="cpu", precision="float32", style_weight=2.0)
    turned = styletx.load_stylizer(stream.getvalue(), **quick(rotations=True, match=0))
    assert [str(note) for note in turned.notes[1:]] == [
        "Nothing is matched with the painting, so rotations has no effect."
    ]
    animated, unused = stylizer.notes
    assert run.notes == (animated,) and "frame" in str(animated)
    assert isinstance(unused, Note) and "compile" in str(unused) and "--compile" in unused.rendered("--{}".format)
    assert ["style_weight" in str(note) for note in trained.notes] == [True]


@pytest.mark.parametrize("kind", ["style_layers", "content_layers"])
def test_a_layer_asked_for_by_name_must_be_there(style_picture: Path, quick: Options, kind: str) -> None:
    with pytest.raises(WeightsError) as error:
        styletx.load_stylizer(style_picture, **quick(**{kind: "relu1_1,relu4_2"}))
    assert "relu4_2" in one_line(error) and "relu2_1" in one_line(error)
    with pytest.raises(OptionError) as unknown:
        styletx.load_stylizer(style_picture, **quick(**{kind: "relu1_1,relu9_9"}))
    assert "relu9_9" in one_line(unknown)


def test_weights_of_layers_matter(content_picture: Path, style_picture: Path, quick: Options) -> None:
    even, double, shallow = (
        styletx.stylize(content_picture, style_picture, **quick(style_layers=layers)).pixels
        for layers in ("relu1_1,relu2_1", "relu1_1=2,relu2_1=2", "relu1_1=9,relu2_1")
    )
    assert torch.equal(even, double)
    assert not torch.equal(even, shallow)


# What cannot work


def test_an_unknown_option_is_told(content_picture: Path, style_picture: Path) -> None:
    with pytest.raises(OptionError, match="'sise'"):
        styletx.stylize(content_picture, style_picture, sise=5)  # type: ignore[call-arg]


def test_a_result_too_small_is_told(style_picture: Path, quick: Options) -> None:
    stylizer = styletx.load_stylizer(style_picture, **quick(size=64))
    with pytest.raises(OptionError) as error:
        stylizer.start(np.zeros((20, 200, 3), np.uint8))
    assert "64×6" in one_line(error) and "size" in one_line(error) and "<array>" in one_line(error)
    stylizer.options = styletx.Options(**quick(size=160))
    assert stylizer.start(np.zeros((20, 200, 3), np.uint8)).size == (16, 160)


def suggested(error: pytest.ExceptionInfo[MemoryLimitError]) -> int:
    found = re.search(r"\bsize (\d+)", one_line(error))
    assert found
    return int(found[1])


def test_too_little_memory_is_told_beforehand(
    monkeypatch: pytest.MonkeyPatch, style_picture: Path, quick: Options
) -> None:
    content = np.zeros((300, 400, 3), np.uint8)
    stylizer = styletx.load_stylizer(style_picture, **quick())
    monkeypatch.setattr(devices, "available_memory", lambda device: None)
    assert stylizer.start(content).size == (300, 400)
    monkeypatch.setattr(devices, "available_memory", lambda device: 50 * 2**20)
    with pytest.raises(MemoryLimitError) as error:
        stylizer.start(content)
    size = suggested(error)
    assert "<array>" in one_line(error) and "400×300" in one_line(error)
    assert 16 <= size < 400
    stylizer.options = styletx.Options(**quick(size=size))
    assert max(stylizer.start(content).size) == size
    # The size is the largest but for rounding.
    stylizer.options = styletx.Options(**quick(size=size + 3))
    with pytest.raises(MemoryLimitError):
        stylizer.start(content)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(100, 3000), st.integers(100, 3000), st.floats(0.1, 0.999))
@pytest.mark.parametrize("tile", ["off", "auto"])
def test_the_size_suggested_does_fit(
    monkeypatch: pytest.MonkeyPatch, memory: OptimizingStylizer, tile: str, height: int, width: int, share: float
) -> None:
    memory.options = dataclasses.replace(memory.options, tile=tile)
    monkeypatch.setattr(devices, "available_memory", lambda device: 0)
    need = memory._forecast((height, width))
    monkeypatch.setattr(devices, "available_memory", lambda device: int(share * need))
    assume(memory._forecast((height, width)) > share * need)  # or else it fits as a whole
    assume(share * need > 1000 * (2 * images.MIN_SIDE) * 16 * max(height, width) / min(height, width))  # something does
    with pytest.raises(MemoryLimitError) as error:
        memory.check("photo", (height, width))
    smaller = images.fit((height, width), suggested(error))
    assume(min(smaller) >= images.MIN_SIDE)
    memory.check("photo", smaller)


@pytest.fixture
def memory(style_picture: Path, quick: Options, monkeypatch: pytest.MonkeyPatch) -> OptimizingStylizer:
    """A stylizer that takes a thousand bytes a pixel."""
    monkeypatch.setattr(OptimizingStylizer, "_bytes_per_pixel", (1000.0, 100.0))
    return loaded(style_picture, **quick())


def test_no_size_is_suggested_that_is_refused(monkeypatch: pytest.MonkeyPatch, memory: OptimizingStylizer) -> None:
    # Enough for 100 pixels, and the smallest picture of this shape has 16×21.
    monkeypatch.setattr(devices, "available_memory", lambda device: 100_000)
    with pytest.raises(MemoryLimitError) as error:
        memory.start(np.zeros((48, 64, 3), np.uint8))
    assert not re.search(r"\bsize \d", one_line(error))


def test_memory_that_runs_out_on_the_way_is_told(
    monkeypatch: pytest.MonkeyPatch, content_picture: Path, style_picture: Path, quick: Options
) -> None:
    run = styletx.load_stylizer(style_picture, **quick()).start(content_picture)
    healthy, calls = losses.Objective.losses, 0

    def of_whole(self: losses.Objective, pixels: Tensor) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nOf the allocated memory")
        return healthy(self, pixels)

    monkeypatch.setattr(losses.Objective, "losses", of_whole)
    with pytest.raises(MemoryLimitError) as error:
        list(run)
    assert str(content_picture) in one_line(error)
    assert 16 <= suggested(error) < 64
    assert run.last is not None and run.last.iteration == 2
    assert run.result.pixels.shape == (1, 3, 48, 64)


def test_a_bug_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, content_picture: Path, style_picture: Path, quick: Options
) -> None:
    stylizer = styletx.load_stylizer(style_picture, **quick())

    def of_whole(self: losses.Objective, pixels: Tensor) -> dict[str, Tensor]:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(losses.Objective, "losses", of_whole)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        stylizer(content_picture)


# Extremes


def sound(result: Result) -> bool:
    pixels = result.pixels
    assert all(np.isfinite(list(result.metadata["losses"].values())))
    return bool(pixels.isfinite().all() and pixels.min() >= 0 and pixels.max() <= 1)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize(
    "weights",
    [
        {"style_weight": 1e9},
        {"content_weight": 1e9},
        {"style_weight": 1e-9},
        {"content_weight": 1e-9},
        {"content_weight": 0.0},
        {"style_weight": 0.0, "init": "noise"},
        {"tv_weight": 1e6},
        {"style_weight": 1e30, "content_weight": 1e-30},
        {"style_weight": 1e38, "content_weight": 1e38, "tv_weight": 1e38},
        {"style_weight": 1e308, "content_weight": 1e308, "init": "noise"},
    ],
    ids=str,
)
def test_extreme_weights(
    content_picture: Path, style_picture: Path, quick: Options, optimizer: str, weights: dict[str, Any]
) -> None:
    run = styletx.load_stylizer(style_picture, **quick(iterations=12, optimizer=optimizer, **weights)).start(
        content_picture
    )
    steps = list(run)
    assert sound(run.result)
    # It gets better, unless it started from the best there is: the photograph, where style hardly counts.
    assert steps[-1].losses["total"] < steps[0].losses["total"] or steps[-1].losses["content"] < 1e-6
    # An ordinary photograph comes out as a picture, not as one black or white plane.
    values = run.result.pixels
    assert 0.05 < values.mean() < 0.95
    assert ((values > 0.02) & (values < 0.98)).float().mean() > 0.3


def plain(*colour: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


PLAIN = {
    "black": plain(0, 0, 0),
    "white": plain(255, 255, 255),
    "grey": plain(128, 128, 128),
    "red": plain(255, 0, 0),
    "smallest": np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8),
    "narrow": np.random.default_rng(1).integers(0, 256, (16, 90, 3), dtype=np.uint8),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("role", ["content", "style", "both"])
def test_plain_and_tiny_pictures(
    content_picture: Path, style_picture: Path, quick: Options, name: str, role: str, request: pytest.FixtureRequest
) -> None:
    if role == "both":
        request.getfixturevalue("no_margin")
    content: Any = content_picture if role == "style" else PLAIN[name]
    style: Any = style_picture if role == "content" else PLAIN[name]
    result = styletx.stylize(content, style, **quick(iterations=8, style_weight=1e4))
    assert sound(result)
    assert result.pixels.shape[-2:] == (content.shape[:2] if isinstance(content, np.ndarray) else (48, 64))
    if role == "both":
        # It is its own style already.
        torch.testing.assert_close(result.pixels, images.read(content).pixels, rtol=0, atol=2 / 255)


def test_layers_weigh_what_their_network_or_the_user_says(content_picture: Path, style_picture: Path) -> None:
    few: dict[str, Any] = {"size": 48, "iterations": 1} | COMPACT
    told = [
        styletx.stylize(content_picture, style_picture, **few, **layers).metadata
        for layers in (
            dict[str, Any](),
            {"style_layers": "relu1_1,relu2_1,relu3_1=1.5,relu4_1,relu5_1=0.5"},
            {"style_layers": "relu3_1"},
        )
    ]
    assert told[0]["style_layers"] == told[1]["style_layers"]
    assert told[0]["style_layers"]["relu3_1"] == 3 * told[0]["style_layers"]["relu5_1"] == 1.5
    assert told[0]["losses"] == told[1]["losses"]
    assert told[2]["style_layers"] == {"relu3_1": 1.0}
    assert told[0]["content_layers"] == {"relu3_1": 1.0, "relu4_2": 1.0}


def test_the_more_is_matched_the_nearer_is_each_part_to_its_model(content_picture: Path, style_picture: Path) -> None:
    stylizer = loaded(style_picture, size=64, **COMPACT)
    layers = stylizer.backbone.matching_layers
    painting = stylizer.painting.scale((64, 64), 1.0)
    assert painting.candidates is not None
    photo = transferred(images.read(content_picture).pixels, stylizer.painting.colors)

    @torch.no_grad()
    def seen(pixels: Tensor) -> dict[str, Tensor]:
        return {PIXELS: pixels, **stylizer.network(pixels)}

    found = seen(photo)
    columns = hypercolumns([found[layer] for layer in layers], (12, 16), painting.scales)
    wanted = Query.of(columns).wanted(painting.candidates, None)
    models = match(wanted, painting.candidates).models(painting.widths)
    term = Matching(layers, models, painting.candidates.mean, painting.scales)

    def distance(amount: float) -> float:
        pixels = styletx.stylize(content_picture, style_picture, size=64, match=amount, **COMPACT).pixels
        return float(term.loss(term.statistics(whole(seen(pixels))).values))

    apart = [distance(amount) for amount in (0, 0.5, 1)]
    assert apart[0] > apart[1] > apart[2], apart


@pytest.mark.parametrize(("amount", "times"), [(1.0, 4), (0.5, 2), (0.0, 1)])
def test_content_counts_for_more_where_details_are_painted(
    content_picture: Path,
    style_picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    two_scales: None,
    amount: float,
    times: float,
) -> None:
    shares = []

    class Recorded(losses.Objective):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            shares.append(self.weights["content"] / self.weights["style"])

    monkeypatch.setattr(optimizing, "Objective", Recorded)
    for size, scales in ((64, 2), (32, 1)):
        shares.clear()
        styletx.stylize(content_picture, style_picture, size=size, match=amount, iterations=1, **COMPACT)
        assert len(shares) == scales
        assert shares[-1] == pytest.approx(shares[0] * (times if scales == 2 else 1))  # a single scale has strokes too


@pytest.mark.parametrize(("amount", "times"), [(1.0, 3), (0.5, 3**0.5), (0.0, 1)])
def test_strokes_count_for_more_at_the_last_two_scales(
    content_picture: Path, style_picture: Path, monkeypatch: pytest.MonkeyPatch, amount: float, times: float
) -> None:
    monkeypatch.setattr(pyramid, "COARSEST_SIDE", 16)
    weights = list[dict[str, float]]()

    class Recorded(losses.Objective):
        def __init__(self, network: Any, terms: Any, stages: Any = ()) -> None:
            super().__init__(network, terms, stages)
            found = {one.term.layers[0]: one.weight for one in terms if one.name == "style"}
            weights.append({layer: weight / found["relu1_1"] for layer, weight in found.items()})

    monkeypatch.setattr(optimizing, "Objective", Recorded)
    styletx.stylize(content_picture, style_picture, size=64, match=amount, iterations=1, **COMPACT)
    coarse, *fine = weights
    assert len(fine) == 2
    for found in fine:
        assert found["relu3_1"] == pytest.approx(coarse["relu3_1"] * times)
        assert found["relu4_1"] == pytest.approx(coarse["relu4_1"])


@pytest.mark.parametrize(("amount", "init"), [(1.0, "content"), (0.5, "noise"), (0.0, "content"), (0.0, "noise")])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_grey_stays_grey(content_picture: Path, style_picture: Path, amount: float, init: str, optimizer: str) -> None:
    content, style = (Image.open(path).convert("L") for path in (content_picture, style_picture))
    result = styletx.stylize(
        content, style, size=64, match=amount, init=init, optimizer=optimizer, iterations=3, **COMPACT
    )
    assert float((result.pixels.amax(1) - result.pixels.amin(1)).max()) == 0
    assert result.pixels.std() > 0.05


def test_colours_come_back_where_only_one_of_the_pictures_is_grey(content_picture: Path, style_picture: Path) -> None:
    grey = Image.open(content_picture).convert("L")
    coloured = styletx.stylize(grey, style_picture, size=64, iterations=3, **COMPACT).pixels
    assert (coloured.amax(1) - coloured.amin(1)).max() > 0.1


def sticker(picture: np.ndarray, place: tuple[int, int], canvas: tuple[int, int]) -> Image.Image:
    """A picture on a transparent canvas of (width, height), with other colours hidden where it is transparent."""
    whole = Image.new("RGBA", canvas, (255, 0, 255, 0))
    whole.paste(Image.fromarray(picture).convert("RGBA"), place)
    return whole


@pytest.mark.parametrize("amount", [0.0, 1.0])
def test_a_painting_on_a_transparent_canvas_is_that_painting(
    content_picture: Path, style_picture: Path, amount: float
) -> None:
    painting = array(style_picture)
    loose, alone = (
        styletx.stylize(content_picture, style, size=64, match=amount, iterations=3, **COMPACT)
        for style in (sticker(painting, (50, 10), (300, 200)), painting)
    )
    assert torch.equal(loose.pixels, alone.pixels)
    assert loose.metadata["losses"] == alone.metadata["losses"]


@pytest.mark.parametrize("rotations", [False, True])
def test_what_is_cut_out_of_a_painting_counts_for_nothing(content_picture: Path, rotations: bool) -> None:
    rng = np.random.default_rng(0)
    stripes = (np.indices((96, 96)).sum(0) // 3 % 2 * 200 + rng.integers(0, 50, (96, 96))).astype(np.uint8)
    picture = np.stack([stripes, stripes // 2, 255 - stripes, np.full_like(stripes, 255)], 2)
    hole = picture.copy()
    hole[30:66, 30:66, 3] = 0
    whole, cut = (loaded(one, rotations=rotations, **COMPACT).paintings[0] for one in (picture, hole))
    assert whole.alpha is None and cut.alpha is not None and cut.lead == 0
    for layer, statistics in whole.at(96, 96).grams.items():
        # The deepest layers see beyond what is visible.
        allowed = 0.15 if layer == "relu5_1" else 0.05
        assert relative_distance(cut.at(96, 96).grams[layer], statistics * 0.86) < allowed, layer
    candidates = cut.at(96, 96).candidates
    assert (
        candidates is not None
        and candidates.shares is not None
        and len(candidates.columns) == 24 * 24 * (4 if rotations else 1)
    )
    hidden = (candidates.shares == 0)[:, 0]
    assert hidden.float().mean() == pytest.approx((36 / 96) ** 2, abs=0.05)
    photo = images.read(content_picture).pixels
    seen = loaded(hole, rotations=rotations, **COMPACT)._activations(photo)
    layers = [seen[layer] for layer in whole.matching_layers]
    query = hypercolumns(layers, grid((48, 64)), cut.at(96, 96).scales)
    assert not hidden[match(Query.of(query).wanted(candidates, None), candidates).index].any()


def test_a_long_thin_painting_is_seen_as_large_as_the_picture_and_never_enlarged(content_picture: Path) -> None:
    def side(style: tuple[int, int], size: tuple[int, int], **options: Any) -> int:
        return loaded(np.zeros((*style, 3), np.uint8), **COMPACT | options).paintings[0].side(size)

    assert side((1024, 1024), (384, 512)) == side((768, 2048), (384, 512)) == 512  # up to twice as thin
    assert side((1024, 4096), (384, 512)) == 768  # three times
    assert side((96, 2048), (384, 512)) == 2048
    assert side((96, 4096), (384, 512)) == 2896  # 68 px high: 512 × 384 px in all
    assert side((48, 640), (384, 512)) == 640
    assert side((96, 2048), (384, 512), style_size=300) == 300


def test_too_small_a_painting_gets_a_note_with_the_size_that_would_do(content_picture: Path) -> None:
    rng = np.random.default_rng(0)
    painting = rng.integers(0, 256, (20, 160, 3), dtype=np.uint8)
    run = styletx.load_stylizer(painting, size=512, **COMPACT).start(content_picture)
    told = [str(note) for note in run.notes]
    assert len(told) == 1 and "short side is 20 px" in told[0] and told[0].endswith("or style_size 1024.")
    enough = styletx.load_stylizer(painting, size=512, style_size=1024, **COMPACT)
    assert enough.start(content_picture).notes == ()


@pytest.mark.parametrize("kind", ["dots", "one object"])
def test_a_painting_leads_where_its_parts_are_alike(kind: str) -> None:
    rng = np.random.default_rng(0)
    if kind == "dots":
        picture = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
    else:
        picture = np.full((192, 240, 3), 240, np.uint8)
        picture[60:120, 100:160] = rng.integers(0, 256, (60, 60, 3), dtype=np.uint8)
    stylizer = loaded(picture, **COMPACT)
    assert stylizer.painting.lead == (1 if kind == "dots" else 0)
    # And what is flat gets clouds, around which its shapes lie.
    flat = stylizer._recoloured(torch.full((1, 3, 96, 128), 0.5))
    assert (float(flat.std((2, 3)).max()) > 0.02) == (kind == "dots")


@pytest.mark.parametrize("style_size", [16, 150])
def test_style_size(
    content_picture: Path, style_picture: Path, quick: Options, no_margin: None, style_size: int
) -> None:
    stylizer = loaded(style_picture, **quick(style_size=style_size))
    seen: list[tuple[int, ...]] = []
    stylizer.network.register_forward_hook(lambda module, args, output: seen.append(tuple(args[0].shape[-2:])))
    run = stylizer.start(content_picture)
    seen.clear()
    assert len(list(run)) == 3 and sound(run.result)
    # The painting as a whole is also looked at once, as it is.
    assert set(seen) == {(48, 64), images.fit((48, 64), style_size)}


def test_a_painting_larger_than_the_result_counts(
    monkeypatch: pytest.MonkeyPatch, style_picture: Path, quick: Options
) -> None:
    monkeypatch.setattr(devices, "available_memory", lambda device: 400 * 2**20)
    content = np.zeros((48, 64, 3), np.uint8)
    assert styletx.load_stylizer(style_picture, **quick()).start(content).size == (48, 64)
    with pytest.raises(MemoryLimitError, match="reduce style_size"):
        styletx.load_stylizer(style_picture, **quick(style_size=8000)).start(content)


# What a person meets in Python


def test_options_may_be_given_whole(content_picture: Path, style_picture: Path, quick: Options) -> None:
    options = styletx.Options(**quick())
    whole = styletx.stylize(content_picture, style_picture, options)
    assert torch.equal(whole.pixels, styletx.stylize(content_picture, style_picture, **quick()).pixels)
    changed = styletx.stylize(content_picture, style_picture, options, size=32, iterations=1)
    assert changed.metadata["options"] == dataclasses.asdict(options.resolved()) | {
        "size": 32,
        "iterations": 1,
        "weights": Path(options.weights or "").name,
    }


def test_progress_is_called_with_each_step(content_picture: Path, style_picture: Path, quick: Options) -> None:
    steps: list[styletx.Step] = []
    result = styletx.stylize(content_picture, style_picture, progress=steps.append, **quick())
    assert [step.iteration for step in steps] == [1, 2, 3] and steps[-1].progress == 1
    assert result.metadata["losses"] == steps[-1].losses


def test_a_result_shows_itself(content_picture: Path, style_picture: Path, quick: Options) -> None:
    result = styletx.stylize(content_picture, style_picture, **quick())
    shown = Image.open(io.BytesIO(result._repr_png_()))
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(result.image))
    np.testing.assert_array_equal(np.asarray(result), np.asarray(result.image))
    assert np.asarray(result, dtype=np.float32).dtype == np.float32
    assert Image.fromarray(np.asarray(result)).size == (64, 48)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_result_goes_into_a_stream(content_picture: Path, style_picture: Path, quick: Options, format: str) -> None:
    result, stream = styletx.stylize(content_picture, style_picture, **quick()), io.BytesIO()
    assert result.save(stream, format=format) == ()
    assert Image.open(stream).format == format


def test_losses_on_the_way_out_are_told(style_picture: Path, quick: Options, tmp_path: Path) -> None:
    content = np.dstack([array(style_picture), np.full((48, 64), 100, np.uint8)])
    result = styletx.stylize(content, style_picture, **quick())
    assert result.save(tmp_path / "out.png") == ()
    (note,) = result.save(tmp_path / "out.jpg")
    assert "transparen" in str(note)


def test_representations_are_short(content_picture: Path, style_picture: Path, quick: Options) -> None:
    stylizer = styletx.load_stylizer(style_picture, **quick())
    run = stylizer.start(content_picture)
    before = repr(run)
    (*_, step) = run
    texts = [repr(stylizer), before, repr(run), repr(step), repr(run.result)]
    assert "not started" in before and "100% done" in repr(run) and "64×48" in repr(step)
    assert all(len(text.splitlines()) == 1 and "tensor" not in text for text in texts)


def test_what_needs_too_much_memory_is_named(
    machine: Machine, content_picture: Path, style_picture: Path, quick: Options
) -> None:
    machine.memory(2**30)
    with pytest.raises(MemoryLimitError, match=r"painting.png: 8000×\d+ px needs about .* reduce style_size"):
        styletx.stylize(content_picture, style_picture, **quick(style_size=8000))
    with pytest.raises(MemoryLimitError, match=r"photo.png: 9000×6750 px needs about .* give size \d+ or less"):
        styletx.stylize(content_picture, "mosaic", size=9000, device="cpu")
    stream = io.BytesIO()
    Image.new("1", (12_000, 9_000)).save(stream, "PNG")
    with pytest.raises(MemoryLimitError, match=r"<bytes>: reading 12000×9000 px needs about 1\.6 GiB, and cpu"):
        images.read(stream.getvalue())


def test_a_stylizer_finishes_by_other_options_as_a_new_one_does() -> None:
    photo = Path(__file__).resolve().parents[1] / "assets/content/cat.jpg"
    first = styletx.Options(size=64, device="cpu", precision="float32", strength=0.5, keep_faces=0)
    stylizer = load_stylizer("mosaic", first)
    different: list[dict[str, Any]] = [
        {},
        {"size": 96, "colors": "photo"},
        {"colors": "match"},
        {"palette": str(photo)},
    ]
    for changes in different:
        second = dataclasses.replace(first, **changes)
        assert before_finishing(second) == before_finishing(first)
        found = finishing(stylizer, second)(photo)
        wanted = load_stylizer("mosaic", second)(photo)
        assert torch.equal(found.pixels, wanted.pixels) and found.metadata == wanted.metadata
    assert before_finishing(dataclasses.replace(first, colors="luminance")) != before_finishing(first)


def test_a_notebook_shows_how_a_picture_gets_finer(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    cell = types.SimpleNamespace(update=shown.append)
    display: Any = types.ModuleType("IPython.display")

    def displayed(first: str, display_id: bool) -> Any:
        shown.append(first)
        return cell

    display.HTML, display.display = str, displayed
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(notebook, "BETWEEN", 0)
    photo = Path(__file__).resolve().parents[1] / "assets/content/cat.jpg"
    run = load_stylizer(photo, size=64, iterations=2, device="cpu").start(photo)
    result = run.show()
    assert torch.equal(result.pixels, run.result.pixels) and len(shown) >= 4
    assert shown[0].startswith("<progress") and "<progress" in shown[1] and "<progress" not in shown[-1]
    data = re.search("base64,([^']+)", shown[-1])
    assert data is not None and Image.open(io.BytesIO(base64.b64decode(data[1]))).size == result.image.size
