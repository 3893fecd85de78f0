"""Devices, precision and memory, on machines that are partly pretended."""

from __future__ import annotations

import os
import platform

import numpy as np
import pytest
import torch
from conftest import Machine
from hypothesis import given
from hypothesis import strategies as st

from styletx import devices
from styletx.errors import OptionError

CPU = torch.device("cpu")


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
        ("cuda", 0, "device cuda: this machine has no CUDA device"),
        ("cuda:0", 0, "device cuda:0: this machine has no CUDA device"),
        ("cuda:2", 2, "device cuda:2: this machine has 2 CUDA device(s), counted from 0"),
        ("mps", 0, "device mps: this machine has no Apple GPU"),
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


X86 = "processor : 0\nmodel name : Some CPU\nflags : fpu avx2 avx512f {}\nbugs : spectre\n\nprocessor : 1\n"
ARM = "processor : 0\nBogoMIPS : 50.00\nFeatures : fp asimd {}\nCPU implementer : 0x41\n"


@pytest.mark.parametrize(
    ("information", "kind", "why"),
    [
        (X86.format("avx512_bf16 avx_vnni"), "x86_64", "avx512_bf16"),
        (X86.format("amx_bf16 amx_tile avx512_bf16"), "x86_64", "amx_bf16 and avx512_bf16"),
        (X86.format("amx_tile amx_int8"), "x86_64", None),
        (X86.format("avx512_vnni") + "bugs : avx512_bf16\n", "x86_64", None),
        (ARM.format("sve bf16"), "aarch64", "NEON bf16"),
        (ARM.format("svebf16"), "aarch64", None),
        ("", "x86_64", None),
    ],
)
def test_auto_precision_follows_the_processors_instructions(
    machine: Machine, information: str, kind: str, why: str | None
) -> None:
    machine.processor(information, kind)
    assert devices.has_bfloat16(CPU) is (why is not None)
    assert devices.dtype("auto", CPU) == (torch.bfloat16 if why else torch.float32)
    assert devices.why_precision(CPU) == f"the processor has {why or 'no bfloat16 instructions'}"


def test_this_machines_instructions_are_those_that_torch_finds() -> None:
    asked = [getattr(torch.cpu, name) for name in devices.TORCH_ASKS.values() if hasattr(torch.cpu, name)]
    if platform.machine() != "x86_64" or not asked:
        pytest.skip("needs an x86 processor, and a torch that tells its instructions")
    # Not by has_bfloat16, which pytest --bfloat16 pretends.
    assert devices._bfloat16(CPU)[0] == any(function() for function in asked)


@pytest.mark.parametrize(("told", "expected"), [("1", True), ("0", False), ("", False)])
def test_a_mac_is_asked_by_sysctl(machine: Machine, monkeypatch: pytest.MonkeyPatch, told: str, expected: bool) -> None:
    machine.processor("", "arm64", "Darwin")
    monkeypatch.setattr(devices, "_sysctl", lambda name: told if name == "hw.optional.arm.FEAT_BF16" else "")
    assert devices.has_bfloat16(CPU) is expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True), ((12, 0), True)])
def test_a_gpu_is_asked_for_its_capability(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    expected: bool,
) -> None:
    machine.processor(X86.format("avx512_bf16"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    device = torch.device("cuda:0")
    assert devices.has_bfloat16(device) is expected
    assert devices.why_precision(device) == f"the GPU has compute capability {capability[0]}.{capability[1]}"


def test_an_apple_gpu_computes_in_float32(machine: Machine) -> None:
    machine.processor(X86.format("avx512_bf16"))
    assert devices.dtype("auto", torch.device("mps")) == torch.float32


@pytest.mark.parametrize("flags", ["", "avx512_bf16"])
def test_a_precision_that_is_given_is_taken(machine: Machine, flags: str) -> None:
    machine.processor(X86.format(flags))
    assert devices.dtype("float32", CPU) == torch.float32
    assert devices.dtype("bfloat16", CPU) == torch.bfloat16


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
