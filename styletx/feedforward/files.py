"""Files of trained networks: safetensors, with everything about the network in the header."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from styletx import images
from styletx._version import __version__
from styletx.errors import TrainingError, WeightsError
from styletx.feedforward.network import Layout, Transformer

KEY = "styletx"  # of the header's entry
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


def write(path: Path, network: Transformer, about: dict[str, Any]) -> None:
    """Write a network in float16, with `about` in its header.

    Raises:
        OutputError: it cannot be written there; what was there stays.
    """
    state = {name: tensor.detach().cpu().half().contiguous() for name, tensor in network.state_dict().items()}
    header = {"styletx": __version__, "layout": dataclasses.asdict(network.layout), **about}
    images.write_bytes(path, save(state, {KEY: json.dumps(header)}))


def write_torch(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint.

    Raises:
        OutputError: it cannot be written there; what was there stays.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    images.write_bytes(path, buffer.getvalue())


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
        raise TrainingError(f"{path}: is no checkpoint that can be read; leave --resume away.") from error
    return state


def read(path: str | os.PathLike[str]) -> Model:
    """Read a network; nothing in the file is executed.

    Raises:
        WeightsError: it is no model of ours, or it is damaged.
    """
    path = Path(path)
    wrong = WeightsError(
        f"{path}: is no style that styletx can read; give a .safetensors file written by styletx train."
    )
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[KEY])
            layout = Layout(**about["layout"])
            with torch.device("meta"):
                network = Transformer(layout)
            expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
            # Shapes first, for a header may promise more than memory holds.
            if {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()} != {  # noqa: SIM118
                name: tuple(shape) for name, shape in expected.items()
            }:
                raise wrong
            state = {name: file.get_tensor(name).float() for name in expected}
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such file.") from None
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise wrong from error
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise WeightsError(f"{path}: holds weights that are not finite numbers; the file is damaged, get it again.")
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)
    with contextlib.suppress(AttributeError):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(str(about.get("name") or path.stem), network, about)
