"""Which device, precision and picture size a machine can handle."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import re
import subprocess
import sys

import torch
from torch import Tensor, nn

from styletx.errors import MemoryLimitError, OptionError, field

CPU_INFORMATION = "/proc/cpuinfo"
# Instruction sets as Linux names them, and as they are shown. Without one, bfloat16 is slower than float32.
BFLOAT16 = {"amx_bf16": "amx_bf16", "avx512_bf16": "avx512_bf16", "bf16": "NEON bf16"}
# Torch does not tell AMX's parts apart, but every processor with tiles multiplies bfloat16 in them.
TORCH_ASKS = {"amx_bf16": "_is_amx_tile_supported", "avx512_bf16": "_is_avx512_bf16_supported"}
TRIAL = 128  # px of the picture that a network is tried with
# The peak of an evaluation over what it keeps for its backward pass. With it, the estimate for VGG-19 to relu3_1 at
# 1024×768 was 1.97 GiB where 2.0 were measured.
EVALUATION_PEAK = 1.4
CUDA_CAPABILITY = 8  # Ampere, the first generation of GPUs that multiplies matrices in bfloat16


def choose(name: str = "auto") -> torch.device:
    """The device of that name.

    Args:
        name: auto (CUDA, else MPS, else the CPU), cpu, cuda, cuda:N or mps.

    Raises:
        OptionError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    # Not left to torch.device, which wraps an index around at 256.
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", name):
        raise OptionError(f"no device is called {name!r}; choose auto, cpu, cuda, cuda:N or mps")
    kind, _, index = name.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            have = f"has {count} CUDA device(s), counted from 0" if count else "has no CUDA device"
            raise OptionError(f"{field('device')} {name}: this machine {have}; use auto or cpu")
    if kind == "mps" and not _has_mps():
        raise OptionError(f"{field('device')} mps: this machine has no Apple GPU; use auto or cpu")
    return torch.device(name)


def dtype(precision: str, device: torch.device) -> torch.dtype:
    """The convolutions' dtype for a precision: auto, float32 or bfloat16; auto decides by `has_bfloat16`."""
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions that make bfloat16 faster than float32; always the same on one machine."""
    return _bfloat16(device)[0]


def why_precision(device: torch.device) -> str:
    """What `has_bfloat16` found on a device, as a clause: "the processor has avx512_bf16"."""
    return _bfloat16(device)[1]


@functools.cache
def _bfloat16(device: torch.device) -> tuple[bool, str]:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return major >= CUDA_CAPABILITY, f"the GPU has compute capability {major}.{minor}"
    if device.type == "mps":
        return False, "float32 is the rule on an Apple GPU"
    found = _bfloat16_instructions()
    return bool(found), f"the processor has {' and '.join(found) or 'no bfloat16 instructions'}"


def _bfloat16_instructions() -> tuple[str, ...]:
    """The names of the processor's instruction sets for bfloat16."""
    if platform.system() == "Linux":
        flags = next((line.split() for line in _lines(CPU_INFORMATION) if re.match("flags|Features", line)), [])
    elif platform.machine().lower() in ("arm64", "aarch64"):
        flags = ["bf16"] if _sysctl("hw.optional.arm.FEAT_BF16") == "1" else []
    else:
        flags = [name for name, function in TORCH_ASKS.items() if getattr(torch.cpu, function, lambda: False)()]
    return tuple(shown for name, shown in BFLOAT16.items() if name in flags)


def available_memory(device: torch.device) -> int | None:
    """Bytes that a run may still take on a device, or None where the system does not tell."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min((size for size in (_system_memory(), _container_memory()) if size is not None), default=None)


def bytes_per_pixel(network: nn.Module, device: torch.device) -> float:
    """Bytes that a pixel of `[1, 3, H, W]` takes while a network there sees it and is differentiated."""
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    pixels = torch.zeros(1, 3, TRIAL, TRIAL, device=device).to(memory_format=torch.channels_last)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        seen = network(pixels.requires_grad_())
    parameters: int = sum(parameter.nbytes for parameter in network.parameters())
    found = EVALUATION_PEAK * max(0, sum(kept.values()) - parameters) / TRIAL**2
    del seen
    return found


def release_memory() -> None:
    """Give back to the system what is free; a process keeps it otherwise, in pieces that fit nothing larger."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def check_memory(needed: float, device: torch.device, what: str, advice: str) -> None:
    """Refuse beforehand what does not fit: where memory runs out, the system ends the program without a word.

    Args:
        needed: bytes, about.
        device: where.
        what: would need them, such as "photo.jpg: 8000×6000 px".
        advice: what to do instead.

    Raises:
        MemoryLimitError: the device has less.
    """
    available = available_memory(device)
    if available is not None and needed > available:
        raise MemoryLimitError(
            f"{what} needs about {needed / 2**30:.1f} GiB, and {device} has {available / 2**30:.1f} GiB free; {advice}"
        )


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
    for line in _lines(CPU_INFORMATION):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
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


def _sysctl(name: str) -> str:
    try:
        line = subprocess.run(["sysctl", name], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
    return line.rpartition(":")[2].strip()
