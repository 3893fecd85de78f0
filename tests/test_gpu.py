"""The whole path on a GPU: the CPU's pictures, no trips to the host, batches, two devices, and memory that runs out."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import painting, photo
from PIL import Image
from test_transfers import Transfers, counted, pictures

import styletx
from styletx import images

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PHOTOGRAPH, PAINTING = ASSETS / "content/coffee.jpg", ASSETS / "styles/mosaic.jpg"
INVISIBLE = 2  # steps of 8 bits that a pixel may differ on another device or in another precision
NEARLY_ALL = 0.999  # share of the pixels that must not differ by more


def within(one: styletx.Result, other: styletx.Result, steps: int = INVISIBLE) -> float:
    """The share of the pixels that differ by so many steps of 8 bits at most."""
    difference = np.abs(np.asarray(one.image, int) - np.asarray(other.image, int)).max(-1)
    return float((difference <= steps).mean())


# No trips to the host


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_gpu_waits_once_an_iteration_and_is_sent_pictures_once(optimizer: str) -> None:
    options = styletx.Options(size=256, iterations=12, tv_weight=0.1, optimizer=optimizer, device="cuda")
    stylizer = styletx.load_stylizer(PAINTING, options)
    run = stylizer.start(PHOTOGRAPH)
    steps = counted(run, "cuda")
    assert {step.scale for step, *_ in steps} == {0, 1}
    # The photograph and the painting, both small already.
    assert sum((pictures(up) for _, up, _ in steps), Counter()) == {tuple(run.photo.shape): 1, (1, 3, 192, 256): 1}
    for step, up, down in steps:
        if step.iteration > 1:
            assert not up, step
            assert down == {(5,): 1}, step  # four losses and the change of the picture
    with Transfers("cuda") as transfers:
        result = run.result
    assert transfers.down == {tuple(result.pixels.shape): 1}


@pytest.mark.gpu
def test_one_pass_waits_twice_and_is_sent_the_photograph() -> None:
    run = styletx.load_stylizer("mosaic", device="cuda", size=96).start(PHOTOGRAPH)
    ((_, up, down),) = counted(run, "cuda")
    assert pictures(up) == {tuple(run.photo.shape): 1}
    assert down == {(): 2}  # whether the photograph is flat, and whether the result is finite


@pytest.mark.gpu
def test_cuda_itself_counts_one_wait_an_iteration() -> None:
    stylizer = styletx.load_stylizer(painting(), device="cuda", size=64, iterations=23)
    steps = iter(stylizer.start(photo()))
    next(steps)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            count = sum(1 for _ in steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert count == 22
    assert len([wait for wait in waits if "synchroniz" in str(wait.message)]) == count


# The same pictures


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_optimisation_goes_the_cpus_way(optimizer: str) -> None:
    runs = {}
    for device in ("cpu", "cuda"):
        options = styletx.Options(size=128, precision="float32", optimizer=optimizer, iterations=5, device=device)
        runs[device] = styletx.load_stylizer(PAINTING, options).start(PHOTOGRAPH)
    for step, expected in zip(runs["cuda"], runs["cpu"], strict=True):
        assert step.pixels.device.type == "cuda"
        # The GPU may round the convolutions' factors to ten bits (TF32).
        assert step.losses["total"] == pytest.approx(expected.losses["total"], rel=0.03)
    result = runs["cuda"].result
    assert result.pixels.device.type == "cpu"
    assert result.metadata["device"] == "cuda"
    difference = (result.pixels - runs["cpu"].result.pixels).abs().mean()
    assert difference < 2 / 255


@pytest.mark.gpu
@pytest.mark.parametrize("style", ["mosaic", "starry-night"])
def test_one_pass_gives_the_cpus_picture(style: str) -> None:
    one, other = (
        styletx.stylize(PHOTOGRAPH, style, device=device, precision="float32", size=384) for device in ("cpu", "cuda")
    )
    assert within(one, other) >= NEARLY_ALL


@pytest.mark.gpu
@pytest.mark.parametrize("style", ["mosaic", "starry-night"])
def test_one_pass_in_bfloat16_looks_like_float32(style: str) -> None:
    one, other = (
        styletx.stylize(PHOTOGRAPH, style, device="cuda", precision=precision, size=384)
        for precision in ("float32", "bfloat16")
    )
    assert within(one, other) >= NEARLY_ALL


@pytest.mark.gpu
def test_the_optimisation_in_bfloat16_comes_as_near() -> None:
    one, other = (
        styletx.stylize(PHOTOGRAPH, PAINTING, device="cuda", precision=precision, size=256, iterations=30)
        for precision in ("float32", "bfloat16")
    )
    assert other.metadata["losses"]["total"] == pytest.approx(one.metadata["losses"]["total"], rel=0.1)


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(64, 48), (201, 333), (1200, 900)])
def test_a_resized_picture_is_the_cpus(size: tuple[int, int]) -> None:
    pixels = images.read(PHOTOGRAPH).pixels
    resized = images.resize(pixels.to("cuda"), size)
    assert resized.device.type == "cuda"
    torch.testing.assert_close(resized.cpu(), images.resize(pixels, size), rtol=0, atol=1e-4)
    with Image.open(PHOTOGRAPH) as file:
        expected = np.asarray(file.convert("RGB").resize(size[::-1], Image.Resampling.LANCZOS), int)
    values = (resized[0].permute(1, 2, 0).cpu() * 255).round().numpy().astype(int)
    assert np.abs(values - expected).max() <= 1


# Several pictures


@pytest.mark.gpu
def test_a_list_is_painted_at_once_and_gives_the_same() -> None:
    stylizer = styletx.load_stylizer("mosaic", device="cuda", precision="float32", size=256)
    assert stylizer.batch_size > 1
    with Image.open(PHOTOGRAPH) as file:
        one_size: list[images.Source] = [
            file.convert("RGB"),
            file.convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        ]
    several_sizes: list[images.Source] = [*sorted((ASSETS / "content").glob("*.jpg"))]
    for photographs in (one_size, several_sizes):
        for photograph, together in zip(photographs, stylizer(photographs), strict=True):
            assert within(together, stylizer(photograph)) >= NEARLY_ALL


@pytest.mark.gpu
@pytest.mark.parametrize("style", ["mosaic", PAINTING], ids=["trained", "painting"])
def test_a_folder(style: str | Path, tmp_path: Path) -> None:
    options = styletx.Options(size=128, iterations=3, device="cuda")
    records = list(styletx.batch(ASSETS / "content", style, tmp_path / "out", options))
    assert len(records) == len(list((ASSETS / "content").glob("*.jpg")))
    assert [record.error for record in records] == [None] * len(records)
    assert len(list((tmp_path / "out").glob("*.png"))) == len(records)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_folder_on_two_devices(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(8):
        Image.fromarray(np.roll(photo(), 5 * number, axis=1)).save(folder / f"{number}.png")
    records = list(styletx.batch(folder, "mosaic", tmp_path / "out", workers=2, size=64))
    assert [record.error for record in records] == [None] * 8


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("style", ["mosaic", PAINTING], ids=["trained", "painting"])
def test_the_second_device_gives_the_firsts_picture(style: str | Path) -> None:
    options = styletx.Options(size=128, iterations=3, precision="float32")
    one, other = (styletx.stylize(PHOTOGRAPH, style, options, device=device) for device in ("cuda:0", "cuda:1"))
    assert within(one, other) >= NEARLY_ALL


# Memory


@pytest.mark.gpu
def test_what_cannot_fit_is_refused_before_any_work() -> None:
    free, _ = torch.cuda.mem_get_info()
    # An evaluation keeps at least 100 float32 values a pixel.
    side = math.ceil(math.sqrt(free / 400)) * 2
    stylizer = styletx.load_stylizer(PAINTING, device="cuda", size=side)
    before = torch.cuda.memory_allocated()
    with pytest.raises(styletx.MemoryLimitError, match=r"GiB.* free; .*size") as error:
        stylizer.start(np.zeros((64, 64, 3), np.uint8))
    assert len(str(error.value).splitlines()) == 1
    assert torch.cuda.memory_allocated() - before < 2**27


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Torch gets 256 MiB more than it has now, whatever the device says is free."""
    torch.cuda.empty_cache()
    _, whole = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**28) / whole)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.gpu
@pytest.mark.parametrize("style", ["mosaic", PAINTING], ids=["trained", "painting"])
def test_running_out_of_memory_gives_advice(style: str | Path, little_memory: None) -> None:
    stylizer = styletx.load_stylizer(style, device="cuda", size=4096, iterations=1)
    message = ""
    try:
        stylizer(PHOTOGRAPH)
    except styletx.MemoryLimitError as error:  # not kept, since its traceback keeps what was allocated
        message = str(error)
    assert "size" in message and "cuda" in message and len(message.splitlines()) == 1
    # What was allocated is free again: a small picture still works.
    assert styletx.stylize(PHOTOGRAPH, style, device="cuda", size=64, iterations=1).pixels.shape[-1] == 64
