"""The whole path on a GPU, and on every device that pictures make no trips to the host."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import painting, photo
from PIL import Image
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import styletx
from styletx import images
from styletx.optimization import Step

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PHOTOGRAPH, PAINTING = ASSETS / "content/coffee.jpg", ASSETS / "styles/mosaic.jpg"
EVERY_DEVICE = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
# How many steps of 8 bits a pixel may differ from another device's or precision's, and what share of them has to.
FLIP = Image.Transpose.FLIP_LEFT_RIGHT
INVISIBLE, NEARLY_ALL = 2, 0.999


def within(one: styletx.Result, other: styletx.Result, steps: int = INVISIBLE) -> float:
    """The share of the pixels that differ by so many steps of 8 bits at most."""
    difference = np.abs(np.asarray(one.image, int) - np.asarray(other.image, int)).max(-1)
    return float((difference <= steps).mean())


# No trips to the host


class Trips(contextlib.AbstractContextManager["Trips"]):
    """Notes each time that the host reads a tensor, and each picture or layer that is sent to a device.

    Attributes:
        read: how many values each read took.
        moved: how many values each picture or layer had.
    """

    def __init__(self) -> None:
        self.read: list[int] = []
        self.moved: list[int] = []
        self._modes = contextlib.ExitStack()

    def __enter__(self) -> Trips:
        self._modes.enter_context(_Calls(self))
        self._modes.enter_context(_Operations(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._modes.close()


class _Calls(TorchFunctionMode):
    """What Python calls: on a CPU, most of it never becomes an operation."""

    READS = (torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.__array__)
    MOVES = (torch.Tensor.to, torch.Tensor.cuda)

    def __init__(self, trips: Trips) -> None:
        super().__init__()
        self.trips = trips

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.READS:
            self.trips.read.append(args[0].numel())
            with torch.utils._python_dispatch._disable_current_modes():
                return func(*args, **(kwargs or {}))
        names_device = any(isinstance(one, torch.device | str) for one in (*args, *(kwargs or {}).values()))
        if func in self.MOVES and names_device and args[0].ndim == 4:
            self.trips.moved.append(args[0].numel())
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """What torch executes: values that the host asks for, and copies from a GPU that no call above asked for."""

    READS = (
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.nonzero.default,
        torch.ops.aten.masked_select.default,
        torch.ops.aten.equal.default,
    )

    def __init__(self, trips: Trips) -> None:
        super().__init__()
        self.trips = trips

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        copied = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        source = args[1] if func is torch.ops.aten.copy_.default else next(iter(args), result)
        masks = func is torch.ops.aten.index.Tensor and any(
            one is not None and one.dtype == torch.bool for one in args[1]
        )
        if func in self.READS or masks or (copied and result.device.type == "cpu" != source.device.type):
            self.trips.read.append(source.numel())
        return result


def test_trips_are_noticed() -> None:
    values = torch.arange(6.0)
    cases = {
        "item": lambda: values.sum().item(),
        "bool": lambda: bool(values.any()),
        "float": lambda: float(values[0]),
        "list": lambda: values.tolist(),
        "array": lambda: np.asarray(values),
        "cpu": lambda: values.cpu(),
        "mask": lambda: values[values > 2],
    }
    for name, case in cases.items():
        with Trips() as trips:
            case()
        assert len(trips.read) == 1 and not trips.moved, name
    with Trips() as trips:
        (values.view(1, 1, 2, 3).to("cpu").to(torch.float64) + 1).requires_grad_().sum().backward()
    assert not trips.read and trips.moved == [6]


def steps_and_trips(run: styletx.Run) -> Iterator[tuple[Step, Trips]]:
    """Each step of a run, and the trips of that step."""
    steps = iter(run)
    while True:
        with Trips() as trips:
            step = next(steps, None)
        if step is None:
            return
        yield step, trips


@pytest.mark.parametrize("device", EVERY_DEVICE)
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_an_iteration_waits_for_its_device_once(device: str, optimizer: str) -> None:
    options = styletx.Options(size=64, iterations=23, tv_weight=0.1, precision="float32", optimizer=optimizer)
    stylizer = styletx.load_stylizer(painting(), options, device=device)
    _, *later = steps_and_trips(stylizer.start(photo()))
    assert len(later) == 22
    losses = len(later[0][0].losses)
    for step, trips in later:
        assert trips.read == [losses + 1], f"iteration {step.iteration}: the losses and the change, and nothing else"
        assert not trips.moved, f"iteration {step.iteration}"


@pytest.mark.parametrize("device", EVERY_DEVICE)
def test_pictures_are_moved_once_for_all_scales(device: str) -> None:
    stylizer = styletx.load_stylizer(PAINTING, device=device, size=256, iterations=2, precision="float32")
    run = stylizer.start(PHOTOGRAPH)
    steps = list(steps_and_trips(run))
    assert len({step.scale for step, _ in steps}) == 2
    moved = [count for _, trips in steps for count in trips.moved]
    height, width = run.size
    # The photograph and the painting, both small already.
    assert sorted(moved) == sorted([3 * height * width, 3 * 256 * 192])
    assert all(count < 100 for _, trips in steps for count in trips.read), "a picture went back to the host"
    with Trips() as trips:
        pixels = run.result.pixels
    assert trips.read == [pixels.numel()], "the finished picture, and nothing else"


@pytest.mark.parametrize("device", EVERY_DEVICE)
def test_one_pass_waits_for_its_device_twice(device: str) -> None:
    stylizer = styletx.load_stylizer("mosaic", device=device, size=96, precision="float32")
    run = stylizer.start(PHOTOGRAPH)
    ((_, trips),) = steps_and_trips(run)
    assert trips.read == [1, 1], "whether the photograph is flat, and whether the result is finite"
    assert trips.moved == [run.photo.numel()]


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
        one_size: list[images.Source] = [file.convert("RGB"), file.convert("RGB").transpose(FLIP)]
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
    stylizer = styletx.load_stylizer(PAINTING, device="cuda")
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
    with pytest.raises(styletx.MemoryLimitError, match="size") as error:
        stylizer(PHOTOGRAPH)
    assert "cuda" in str(error.value) and len(str(error.value).splitlines()) == 1
    # What was allocated is free again: a small picture still works.
    assert styletx.stylize(PHOTOGRAPH, style, device="cuda", size=64, iterations=1).pixels.shape[-1] == 64
