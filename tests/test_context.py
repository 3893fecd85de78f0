"""Inside other people's programs: whatever they set torch to, pictures are those of a plain program, bit for bit."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import styletx
from styletx import context

PLAIN: dict[str, Any] = {"backbone": "compact", "device": "cpu", "precision": "float32", "iterations": 2, "size": 64}
ONE_PASS: dict[str, Any] = {"device": "cpu", "precision": "float32", "size": 64}


@contextlib.contextmanager
def dtype(chosen: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(chosen)
    try:
        yield
    finally:
        assert torch.get_default_dtype() == chosen
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def device(chosen: str) -> Iterator[None]:
    torch.set_default_device(chosen)
    try:
        yield
    finally:
        assert torch.get_default_device().type == chosen
        torch.set_default_device(None)


AROUND: dict[str, Callable[[], Any]] = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "float64": lambda: dtype(torch.float64),
    "float16": lambda: dtype(torch.float16),
    "another device": lambda: device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


def everything(content: Path, style: Path) -> dict[str, Tensor]:
    """What the whole public list makes."""
    painted = styletx.stylize(content, style, **PLAIN)
    noisy = styletx.stylize(torch.from_numpy(painted.__array__()).permute(2, 0, 1), style, init="noise", **PLAIN)
    stylizer = styletx.load_stylizer("mosaic", strength=0.7, **ONE_PASS)
    one, other = stylizer([content, style])
    run = styletx.load_stylizer(style, rotations=True, **PLAIN).start(content)
    steps = [step.pixels.clone() for step in run]
    styletx.load_stylizer(style, match=0, tv_weight=1.0, optimizer="adam", **PLAIN)(content).save("saved.png")
    record, *_ = styletx.batch(content, "mosaic", "out", overwrite=True, **ONE_PASS)
    assert record.error is None and [style.name for style in styletx.styles()]
    return {
        "painted": painted.pixels, "noisy": noisy.pixels, "one": one.pixels, "other": other.pixels, "first": steps[0],
        "last": steps[-1], "result": run.result.pixels, "image": torch.frombuffer(
            bytearray(run.result.image.tobytes()), dtype=torch.uint8),
        "saved": torch.frombuffer(bytearray(Path("saved.png").read_bytes()), dtype=torch.uint8),
        "batch": torch.frombuffer(bytearray(Path(record.output).read_bytes()), dtype=torch.uint8),
    }  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return {}


@pytest.mark.parametrize("around", AROUND)
def test_pictures_are_those_of_a_plain_program(
    content_picture: Path, style_picture: Path, plain: dict[str, Tensor], around: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(content_picture.parent)
    content, style = Path(content_picture.name), Path(style_picture.name)
    if not plain:
        plain.update(everything(content, style))
    with AROUND[around]():
        found = everything(content, style)
    for name, tensor in plain.items():
        assert found[name].dtype == tensor.dtype and found[name].device == tensor.device, name
        assert torch.equal(found[name], tensor), name
    assert not any(found[name].is_inference() for name in ("painted", "noisy", "one", "other", "result"))


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("style", ["mosaic", "painting"])
def test_what_was_prepared_inside_works_outside_and_the_other_way_round(
    content_picture: Path, style_picture: Path, around: str, style: str
) -> None:
    chosen, options = ("mosaic", ONE_PASS) if style == "mosaic" else (style_picture, PLAIN)
    with AROUND[around]():
        inside = styletx.load_stylizer(chosen, **options)
        half = inside.start(content_picture)
        next(iter(half))
    outside = styletx.load_stylizer(chosen, **options)
    first = inside(content_picture).pixels
    with AROUND[around]():
        assert torch.equal(outside(content_picture).pixels, first)
    assert torch.equal(styletx.load_stylizer(chosen, **options)(content_picture).pixels, first)
    for _ in half:
        pass
    assert torch.equal(half.result.pixels, first)


def test_a_programs_random_numbers_are_its_own(content_picture: Path, style_picture: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    styletx.stylize(content_picture, style_picture, init="noise", **PLAIN)
    styletx.stylize(content_picture, "mosaic", **ONE_PASS)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_programs_settings_hold_between_steps(content_picture: Path, style_picture: Path) -> None:
    with dtype(torch.float64), torch.inference_mode():
        for _ in styletx.load_stylizer(style_picture, **PLAIN).start(content_picture):
            assert torch.is_inference_mode_enabled() and torch.zeros(1).dtype == torch.float64


def test_threads_that_come_and_go_leave_the_default_dtype() -> None:
    inside, leave = threading.Barrier(2), threading.Event()

    def work() -> None:
        with context.own():
            inside.wait()
            leave.wait()

    with dtype(torch.float64):
        thread = threading.Thread(target=work)
        thread.start()
        with context.own():
            inside.wait()
        assert torch.get_default_dtype() == torch.float32  # the other one computes still
        leave.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float64


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_of_a_program_that_used_threads_does_not_hang(content_picture: Path, style_picture: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        styletx.stylize(content_picture, "mosaic", **ONE_PASS)
        child = multiprocessing.get_context("fork").Process(
            target=styletx.stylize, args=(content_picture, "mosaic"), kwargs=ONE_PASS
        )
        child.start()
        child.join(120)
        assert child.exitcode == 0
    finally:
        child.kill()
        torch.set_num_threads(threads)
