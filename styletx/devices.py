"""Which device, precision and size a machine can do."""

from __future__ import annotations

import functools
import os
import re
import time

import torch
from torch import Tensor, nn

from styletx.errors import OptionError

# Bfloat16 halves the memory too, but rounds to three digits: it has to be clearly faster to be worth it.
WORTHWHILE = 1.2


def choose(name: str = "auto") -> torch.device:
    """The device of that name.

    Args:
        name: auto (CUDA, else MPS, else the CPU), cpu, cuda, cuda:N or mps.

    Raises:
        OptionError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    # Not left to torch.device, which wraps an index round at 256.
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", name):
        raise OptionError(f"no device is called {name!r}; choose auto, cpu, cuda, cuda:N or mps.")
    kind, _, index = name.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            have = f"has {count} CUDA device(s), counted from 0" if count else "has no CUDA device"
            raise OptionError(f"--device {name}: this machine {have}; use --device auto or cpu.")
    if kind == "mps" and not _has_mps():
        raise OptionError("--device mps: this machine has no Apple GPU; use --device auto or cpu.")
    return torch.device(name)


def dtype(precision: str, device: torch.device) -> torch.dtype:
    """The convolutions' dtype for `--precision auto|float32|bfloat16`; auto measures which is faster."""
    if precision == "auto":
        return torch.bfloat16 if bfloat16_gain(device) >= WORTHWHILE else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


@functools.cache
def bfloat16_gain(device: torch.device) -> float:
    """How many times faster than float32 a convolution runs forward and backward in bfloat16, measured once."""
    seconds = {kind: _convolution_seconds(device, kind) for kind in (torch.float32, torch.bfloat16)}
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _convolution_seconds(device: torch.device, dtype: torch.dtype) -> float:
    side = 96 if device.type == "cpu" else 512
    convolution = nn.Conv2d(64, 64, 3).requires_grad_(False).to(device, dtype).to(memory_format=torch.channels_last)
    features = torch.ones(1, 64, side, side, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    features.requires_grad_()
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.enable_grad():
            output: Tensor = convolution(features)
            (gradient,) = torch.autograd.grad(output, features, torch.ones_like(output))
        gradient[0, 0, 0, 0].item()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def available_memory(device: torch.device) -> int | None:
    """Bytes that a run may still take on a device, or None where the system does not tell."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min((size for size in (_system_memory(), _container_memory()) if size is not None), default=None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch raised this because memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    )


def describe(device: torch.device) -> str:
    """The device in words: its kind and its maker's name."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "mps":
        return "mps (Apple GPU)"
    return f"cpu ({_processor()}, {torch.get_num_threads()} threads)"


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    import platform

    return platform.processor() or platform.machine()


def _system_memory() -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _container_memory() -> int | None:
    # A container's limit kills without a word, so it has to be known beforehand (control groups, version 2).
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        return int(limit[0]) - int(used[0])
    return None


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []
