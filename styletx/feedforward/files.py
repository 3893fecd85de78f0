"""Files of trained networks: safetensors, with everything about the network in the header."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from styletx import files
from styletx._version import __version__
from styletx.errors import OptionError, TrainingError, WeightsError, hint
from styletx.feedforward.network import Layout, Transformer

KEY = "styletx"  # of the header's entry
SUFFIXES = (".safetensors", ".onnx")
BUNDLED = resources.files("styletx.feedforward") / "models"


@dataclass(frozen=True)
class Model:
    """A trained network and what its file says of it.

    Attributes:
        name: of the style.
        network: in eval mode, float32, on the CPU.
        about: how it was trained: style, options, losses, versions.
    """

    name: str
    network: Transformer
    about: dict[str, Any]


def bundled() -> dict[str, Path]:
    """The styles that come with styletx: name to file."""
    folder = Path(str(BUNDLED))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find(style: str | os.PathLike[str]) -> Path | None:
    """The model file that a name or a path means; None if it is no model's and so may be a picture's.

    Raises:
        OptionError: there is neither a file nor a style of that name.
    """
    path = Path(style)
    if path.suffix.lower() in SUFFIXES:
        return path
    if path.is_file():
        return None
    styles = bundled()
    if str(style) in styles:
        return styles[str(style)]
    if not path.suffix and not os.path.lexists(path) and path.name == str(style):
        raise OptionError(f"{style}: there is neither a file nor a style of that name; {hint(str(style), styles)}")
    return None


def locate(model: str) -> Path:
    """The file of a trained style, by name or path.

    Raises:
        OptionError: there is none.
    """
    path = find(model)
    if path is None or path.suffix.lower() == ".onnx":
        raise OptionError(
            f"{model}: is no trained style's file; give a .safetensors file written by styletx train, or one of "
            f"{', '.join(bundled())}."
        )
    return path


def write(path: Path, network: Transformer, about: dict[str, Any]) -> None:
    """Write a network in float16, with `about` in its header.

    Raises:
        OutputError: it cannot be written there; what was there stays.
    """
    state = {name: tensor.detach().cpu().half().contiguous() for name, tensor in network.state_dict().items()}
    header = {"styletx": __version__, "layout": dataclasses.asdict(network.layout), **about}
    files.write(path, save(state, {KEY: json.dumps(header)}))


def write_torch(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint.

    Raises:
        OutputError: it cannot be written there; what was there stays.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files.write(path, buffer.getvalue())


def read_torch(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in the file is executed.

    Raises:
        TrainingError: there is none, or it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise TrainingError(f"{path}: there is no checkpoint to go on from; leave --resume away.") from None
    except Exception as error:
        raise TrainingError(f"{path}: is no checkpoint that can be read; give another -o to begin anew.") from error
    return state


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a model file says of its network: layout, style, options, losses, versions.

    Raises:
        WeightsError: it is no model of ours, or it is damaged.
    """
    with _opened(Path(path)) as (_, about):
        return about


def read(path: str | os.PathLike[str]) -> Model:
    """Read a network; nothing in the file is executed.

    Raises:
        WeightsError: it is no model of ours, or it is damaged.
    """
    path = Path(path)
    with _opened(path) as (file, about):
        with torch.device("meta"):
            network = Transformer(Layout(**about["layout"]))
        expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        # Shapes first, for a header may promise more than memory holds.
        if expected != {name: file.get_slice(name).get_shape() for name in file.keys()}:  # noqa: SIM118
            raise ValueError("its tensors are not those of its layout")
        state = {name: file.get_tensor(name).float() for name in expected}
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise WeightsError(f"{path}: holds weights that are not finite numbers; the file is damaged, get it again.")
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)
    return Model(str(about.get("name") or path.stem), network, about)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file, dict(json.loads((file.metadata() or {})[KEY]))
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such file.") from None
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path}: is no style that styletx can read; give a .safetensors file written by styletx train."
        ) from error
