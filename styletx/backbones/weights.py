"""Files of trained weights: read without running any code in them, checked, and under a network's own names."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import safetensors.torch
import torch
from torch import Tensor

from styletx.backbones.registry import Architecture
from styletx.errors import WeightsError, field
from styletx.files import check_readable, reason, sha256_of, shown

PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Source:
    """Where weights came from.

    Attributes:
        path: the file; "random" if there is none.
        origin: "file", "cache", "download", "bundled" or "random".
        sha256: of the file's content, in hexadecimal; empty if there is none.
    """

    path: Path
    origin: str
    sha256: str


@dataclass(frozen=True)
class Weights(Source):
    """Weights that were found.

    Attributes:
        state: float32 tensors under the module's own names; a truncated file has only the shallow layers'.
    """

    state: dict[str, Tensor]


def read(architecture: Architecture, path: str | os.PathLike[str], origin: str = "file") -> Weights:
    """The tensors in a file that fit a network.

    Args:
        architecture: the network.
        path: a `.pth` state dict as it is published, or a safetensors file.
        origin: as in `Source`.

    Raises:
        WeightsError: the file cannot be read safely, or nothing in it fits.
    """
    path = Path(path)
    try:
        check_readable(path)
        sha256 = sha256_of(path)
        published = _tensors(path)
    except FileNotFoundError as error:
        raise WeightsError(f"{shown(path)}: file not found; check the name") from error
    except OSError as error:
        raise WeightsError(
            f"{shown(path)} cannot be read ({reason(error)}); use a .pth or .safetensors file"
        ) from error
    shapes = {name: shape for needs in _needs(architecture).values() for name, shape in needs.items()}
    # A file in the cache holds the module's own names, which a published file never has.
    for names in (architecture.convert(published), published):
        fitting = {name: tensor for name, tensor in names.items() if shapes.get(name) == tensor.shape}
        state = {name: _float32(path, name, tensor) for name, tensor in fitting.items()}
        if reached(architecture, state):
            return Weights(path, origin, sha256, state)
    raise WeightsError(
        f"{shown(path)} holds no weights of {architecture.name}; use a file that does, or another {field('backbone')}"
    )


def reached(architecture: Architecture, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The layers, from the picture down, for which `state` holds every tensor in the right shape."""
    shapes = {name: tensor.shape for name, tensor in state.items()}
    return tuple(layer for layer, needs in _needs(architecture).items() if needs.items() <= shapes.items())


@cache
def _needs(architecture: Architecture) -> dict[str, dict[str, torch.Size]]:
    """Layer to the names and shapes of the tensors it needs."""
    needs = {}
    for layer in architecture.layers:
        with torch.device("meta"):
            module = architecture.build([layer])
        needs[layer] = {name: tensor.shape for name, tensor in module.state_dict().items()}
    return needs


def _tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or a pickled state dict, told apart by content; no code in it is run."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            if file.read(9)[8:] == b"{":
                return safetensors.torch.load_file(path)
            file.seek(0)
            _check_archive(file)
            file.seek(0)
            warnings.simplefilter("ignore")
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile file can make a parser raise anything
        raise WeightsError(
            f"{shown(path)} is damaged or holds more than tensors; use a .pth state dict or a .safetensors file"
        ) from error
    if not isinstance(loaded, Mapping):
        kind = type(loaded).__name__
        raise WeightsError(f"{shown(path)} holds a {kind}, not a state dict; save model.state_dict() instead")
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor) and not value.is_nested}


def _check_archive(file: BinaryIO) -> None:
    """Refuse what is larger unpacked than it is; `torch.save` does not compress.

    Raises:
        ValueError: it is.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > file.seek(0, os.SEEK_END):
                raise ValueError("its entries are compressed")


def _float32(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_meta or tensor.dtype not in PLAIN:
        raise WeightsError(f"{shown(path)}: {name} does not hold plain numbers; use the weights as they were published")
    tensor = tensor.detach().to(torch.float32).contiguous()
    if not tensor.isfinite().all():
        raise WeightsError(f"{shown(path)}: {name} holds NaN or infinity; get an intact copy of the file")
    return tensor
