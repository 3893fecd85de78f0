"""Devices, precision and memory, on machines that are partly pretended."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from conftest import Machine
from hypothesis import given
from hypothesis import strategies as st

from styletx import devices
from styletx.errors import OptionError

CPU = torch.device("cpu")


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """No measurement of this test outlives it, and none of another test is seen."""
    devices.bfloat16_gain.cache_clear()
    yield
    devices.bfloat16_gain.cache_clear()


# Which device


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(0, False, "cpu"), (2, False, "cuda"), (0, True, "mps"), (1, True, "cuda")]
)
def test_auto_takes_the_fastest(machine: Machine, cuda: int, mps: bool, expected: str) -> None:
    machine.gpus(cuda, mps)
    assert devices.choose().type == expected


def test_a_device_that_is_there_is_taken(machine: Machine) -> None:
    machine.gpus(cuda=2, mps=True)
    for name in ("cpu", "cuda", "cuda:0", "cuda:1", "mps"):
        assert devices.choose(name) == torch.device(name)


@pytest.mark.parametrize(
    ("name", "cuda", "told"),
    [
        ("cuda", 0, "--device cuda: this machine has no CUDA device"),
        ("cuda:0", 0, "--device cuda:0: this machine has no CUDA device"),
        ("cuda:2", 2, "--device cuda:2: this machine has 2 CUDA device(s), counted from 0"),
        ("mps", 0, "--device mps: this machine has no Apple GPU"),
        ("gpu", 0, "'gpu'"),
        ("meta", 0, "'meta'"),
        ("xla", 0, "'xla'"),
        ("cuda:x", 1, "'cuda:x'"),
        ("cuda:-1", 1, "'cuda:-1'"),
        ("cuda:200", 1, "cuda:200"),
        ("cuda:256", 1, "cuda:256"),
        ("", 0, "''"),
    ],
)
def test_a_device_that_is_not_there(machine: Machine, name: str, cuda: int, told: str) -> None:
    machine.gpus(cuda)
    with pytest.raises(OptionError) as error:
        devices.choose(name)
    message = str(error.value)
    assert told in message and "\n" not in message
    assert "auto" in message and "cpu" in message.replace(repr(name), "")


@given(st.one_of(st.text(max_size=12), st.from_regex(r"(cpu|cuda|mps|xpu|hip)(:[0-9]{1,12})?", fullmatch=True)))
def test_any_name_is_a_device_or_one_clear_line(name: str) -> None:
    try:
        device = devices.choose(name)
    except OptionError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert torch.zeros(1, device=device).sum() == 0


def test_description_names_the_processor() -> None:
    described = devices.describe(CPU)
    assert described.startswith("cpu (") and f"{torch.get_num_threads()} threads" in described


# Precision


@pytest.mark.parametrize(("share", "expected"), [(0.1, torch.float32), (0.99, torch.float32), (1.01, torch.bfloat16)])
def test_auto_precision_follows_the_measurement(
    monkeypatch: pytest.MonkeyPatch, share: float, expected: torch.dtype
) -> None:
    monkeypatch.setattr(devices, "bfloat16_gain", lambda device: share * devices.WORTHWHILE)
    assert devices.dtype("auto", CPU) == expected
    assert devices.dtype("float32", CPU) == torch.float32
    assert devices.dtype("bfloat16", CPU) == torch.bfloat16


def test_gain_is_measured_once(monkeypatch: pytest.MonkeyPatch, unmeasured: None) -> None:
    measured: list[torch.dtype] = []

    def seconds(device: torch.device, dtype: torch.dtype) -> float:
        measured.append(dtype)
        return {torch.float32: 0.6, torch.bfloat16: 0.2}[dtype]

    monkeypatch.setattr(devices, "_convolution_seconds", seconds)
    assert devices.bfloat16_gain(CPU) == pytest.approx(3)
    assert [devices.dtype("auto", CPU) for _ in range(3)] == [torch.bfloat16] * 3
    assert sorted(measured, key=str) == [torch.bfloat16, torch.float32]


def test_a_precision_that_is_given_measures_nothing(monkeypatch: pytest.MonkeyPatch, unmeasured: None) -> None:
    monkeypatch.setattr(devices, "_convolution_seconds", lambda *_: pytest.fail("measured"))
    assert devices.dtype("float32", CPU) == torch.float32
    assert devices.dtype("bfloat16", CPU) == torch.bfloat16


def test_gain_of_this_machine_is_a_ratio(unmeasured: None) -> None:
    assert 0.001 < devices.bfloat16_gain(CPU) < 1000


# Memory


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="needs os.sysconf, to know this machine's memory otherwise")
def test_available_memory_is_some_of_what_there_is() -> None:
    available = devices.available_memory(CPU)
    assert available is not None
    assert 0 < available <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_containers_limit_counts(machine: Machine) -> None:
    files = {
        "/proc/meminfo": ["MemTotal: 9000 kB", "MemFree: 100 kB", "MemAvailable: 5000 kB"],
        "/sys/fs/cgroup/memory.max": ["3000000"],
        "/sys/fs/cgroup/memory.current": ["1000000"],
    }
    machine.files(files)
    assert devices.available_memory(CPU) == 2_000_000
    files["/sys/fs/cgroup/memory.max"] = ["max"]
    assert devices.available_memory(CPU) == 5000 * 1024
    files["/sys/fs/cgroup/memory.max"] = ["99000000000"]
    assert devices.available_memory(CPU) == 5000 * 1024


def test_running_out_of_memory_is_recognised() -> None:
    # 2⁵⁰ bytes: more than any machine has, and less than what torch refuses as no size at all.
    with pytest.raises((RuntimeError, MemoryError)) as error:
        torch.empty(2**50, dtype=torch.uint8)
    assert devices.is_out_of_memory(error.value)
    with pytest.raises(MemoryError) as array_error:
        np.empty(2**50, dtype=np.uint8)
    assert devices.is_out_of_memory(array_error.value)
    assert devices.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))
    assert devices.is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"))


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    assert not devices.is_out_of_memory(error.value)
    assert not devices.is_out_of_memory(ValueError("out of memory"))
    assert not devices.is_out_of_memory(KeyboardInterrupt())
