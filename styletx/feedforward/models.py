"""Model files: trained networks as safetensors, each with everything about the network in its header."""

from __future__ import annotations

import contextlib
import dataclasses
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
from styletx.errors import OptionError, WeightsError, hint
from styletx.feedforward import networks
from styletx.feedforward.networks import Network

KEY = "styletx"  # of the header's entry
KIND = "transformer"  # of network, in a file that does not name one
SUFFIXES = (".safetensors", ".onnx")
LEVELS = 127  # of 8 bits, on each side of zero
FEW = 4096  # weights of a convolution, up to which they keep 16 bits
SCALE = ".scale"  # after the name of a weight of 8 bits, names what it is multiplied by
BUNDLED = resources.files("styletx.feedforward") / "styles"
ANY = Path(str(resources.files("styletx.feedforward") / "networks" / "any.safetensors"))  # paints any painting


@dataclass(frozen=True)
class Model:
    """A trained network and what its file says about it.

    Attributes:
        name: of the style.
        network: in eval mode, float32, on the CPU.
        about: how it was trained: style, options, losses, versions.
    """

    name: str
    network: Network
    about: dict[str, Any]


@dataclass(frozen=True)
class Style:
    """A bundled trained style.

    Attributes:
        name: what to give as a style to `stylize` or to `styletx run`.
        painting: file name of the style picture that it was trained for.
        path: of its model file.
        size: of that file in bytes.
    """

    name: str
    painting: str
    path: Path
    size: int


def styles() -> tuple[Style, ...]:
    """The trained styles that come with styletx, by name."""
    return tuple(
        Style(name, str(describe(path)["style"]), path, path.stat().st_size) for name, path in bundled().items()
    )


def bundled() -> dict[str, Path]:
    """The bundled styles: name to model file."""
    folder = Path(str(BUNDLED))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def painting(model: Path) -> Path | None:
    """The picture after which a bundled style is painted; None for any other model file.

    Its network is for programs that cannot match.
    """
    return model.with_suffix(".jpg") if model in bundled().values() else None


def paintings() -> dict[str, Path]:
    """The paintings of the bundled styles, by their file names."""
    return {path.name: path for model in bundled().values() if (path := painting(model)) is not None}


def parts(style: str, *, is_one_pass: bool = False) -> list[str]:
    """The files that a style is painted with: its own, and what comes with styletx.

    Args:
        style: a bundled style's name, a model file, or a picture's path or address.
        is_one_pass: whether a picture is painted in one pass.

    Raises:
        OptionError: as `find`.
    """
    if (model := find(style)) is None:
        return [style, str(ANY)] if is_one_pass else [style]
    picture = painting(model)
    return [str(model)] if picture is None else [str(model), str(picture), str(ANY)]


def shipped() -> list[str]:
    """The files of styles that come with styletx, none of which is anybody's result."""
    return [str(ANY), *map(str, sorted(Path(str(BUNDLED)).iterdir()))]


def find(style: str | os.PathLike[str]) -> Path | None:
    """The model file that a name or a path means; None if it means a picture, as any address does.

    Raises:
        OptionError: it looks like a bundled style's name, but none is called that and no such file exists.
    """
    if "://" in str(style):
        return None
    path = Path(style)
    if path.suffix.lower() in SUFFIXES:
        return path
    if os.path.isfile(path):
        return None
    known = bundled()
    if str(style) in known:
        return known[str(style)]
    if not path.suffix and not os.path.lexists(path) and path.name == str(style):
        raise OptionError(f"{files.shown(style)} is neither a file nor a bundled style; {hint(str(style), known)}")
    return None


def locate(model: str) -> Path:
    """The model file of a trained style, by name or path.

    Raises:
        OptionError: the name or path means something else.
    """
    path = find(model)
    if path is None or path.suffix.lower() == ".onnx":
        raise OptionError(
            f"{files.shown(model)} is not a model file; give a .safetensors file written by styletx train, or one of "
            f"{', '.join(bundled())}"
        )
    return path


def write(path: Path, network: Network, about: dict[str, Any]) -> None:
    """Write a network, with `about` in its header.

    Weights of convolutions take 8 bits and a scale for each of their outputs; the rest is float16, and so are
    convolutions of few weights, such as those at full size, which make the colours.

    Raises:
        OutputError: it cannot be written there; a file that was there is left as it was.
    """
    state = {}
    for name, tensor in network.state_dict().items():
        values = tensor.detach().cpu().float()
        if values.dim() == 4 and values.numel() > FEW:
            scale = (values.abs().amax((1, 2, 3), keepdim=True) / LEVELS).clamp_min(torch.finfo(torch.float16).tiny)
            state[name + SCALE] = scale.contiguous()
            state[name] = (values / scale).round().to(torch.int8).contiguous()
        else:
            state[name] = values.half().contiguous()
    header = {
        "styletx": __version__,
        "network": network.descriptor.name,
        "layout": dataclasses.asdict(network.layout),
        **about,
    }
    files.write(path, save(state, {KEY: json.dumps(header)}))


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a model file says about its network: kind, layout, style, options, losses, versions.

    Raises:
        WeightsError: it is not a model file of ours, or it is damaged.
    """
    with _opened(Path(path)) as (_, about):
        return about


def read(path: str | os.PathLike[str]) -> Model:
    """Read a network; nothing in the file is executed.

    Raises:
        WeightsError: it is not a model file of ours, or it is damaged.
    """
    path = Path(path)
    with _opened(path) as (file, about):
        with torch.device("meta"):
            network = networks.build(about.get("network", KIND), about["layout"])
        expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        scaled = [name.removesuffix(SCALE) for name in file.keys() if name.endswith(SCALE)]  # noqa: SIM118
        scales = {name + SCALE: [expected[name][0], 1, 1, 1] for name in scaled}
        # Shapes first: a header may promise more than memory holds.
        if expected | scales != {name: file.get_slice(name).get_shape() for name in file.keys()}:  # noqa: SIM118
            raise ValueError("its tensors do not fit its layout")
        state = {name: file.get_tensor(name).float() for name in expected}
        for name in scaled:
            state[name] *= file.get_tensor(name + SCALE).float()
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise WeightsError(
            f"{files.shown(path)} holds weights that are not finite numbers, so it is damaged; get a new copy"
        )
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)
    return Model(str(about.get("name") or path.stem), network, about)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    try:
        files.check_readable(path)
        with safe_open(path, framework="pt") as file:
            if KEY not in (file.metadata() or {}):
                raise WeightsError(
                    f"{files.shown(path)} is a model of another program; give a .safetensors file written by styletx "
                    "train"
                )
            yield file, dict(json.loads(file.metadata()[KEY]))
    except FileNotFoundError:
        raise WeightsError(f"{files.shown(path)}: there is no such file; check the name") from None
    except OSError as error:
        raise WeightsError(
            f"{files.shown(path)} cannot be read ({files.reason(error)}); give a .safetensors file written by styletx "
            "train"
        ) from error
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{files.shown(path)} is not a style that styletx can read; give a .safetensors file written by "
            "styletx train"
        ) from error
