"""Every option of a run: its default, its unit, its range. The command line and the embedded metadata follow it."""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from styletx.errors import OptionError


@dataclass(frozen=True)
class Help:
    """What is said of one option, and what it may be.

    Attributes:
        group: heading under which help lists it.
        text: one line, with the unit.
        minimum: least value, or None.
        maximum: greatest value, or None.
        choices: all values there are, or None for any.
        metavar: what stands for the value in help.
        default: how the default reads where the value itself says too little.
    """

    group: str
    text: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None
    metavar: str | None = None
    default: str | None = None


def _option(default: Any, help: Help) -> Any:
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Options:
    """How a picture is repainted. Every field has a default; a value that cannot work raises `OptionError`.

    Layers are given as "relu1_1,relu2_1=0.5": names, each with a weight if it is not 1.
    """

    size: int | str = _option(
        512, Help("Picture", "Long side of the result in px, or 'original'.", 16, 65_536, metavar="PX")
    )
    style_size: int | None = _option(
        None,
        Help(
            "Picture",
            "Long side of the style picture in px; smaller gives finer strokes.",
            16,
            65_536,
            metavar="PX",
            default="as --size",
        ),
    )
    init: str = _option(
        "content",
        Help(
            "Picture",
            "What to start from: content, style, noise or a picture file.",
            metavar="content|style|noise|FILE",
        ),
    )
    max_pixels: int = _option(
        250_000_000, Help("Picture", "Largest picture to read, in pixels.", 256, metavar="N", default="250 million")
    )
    style_weight: float = _option(
        60.0, Help("Look", "Weight of the style loss: more is more painting.", 0, metavar="W")
    )
    content_weight: float = _option(
        1.0, Help("Look", "Weight of the content loss: more is more photograph.", 0, metavar="W")
    )
    tv_weight: float = _option(
        0.0, Help("Look", "Weight of the total variation loss: more is smoother.", 0, metavar="W")
    )
    strength: float = _option(
        1.0, Help("Look", "How much of the result shows over the photograph, from 0 to 1.", 0, 1, metavar="S")
    )
    style_layers: str | None = _option(
        None, Help("Look", "Layers that carry style, as NAME[=WEIGHT],…", metavar="LAYERS", default="the backbone's")
    )
    content_layers: str | None = _option(
        None, Help("Look", "Layers that carry content, as NAME[=WEIGHT],…", metavar="LAYERS", default="the backbone's")
    )
    iterations: int = _option(
        15, Help("Search", "Evaluations at full size; smaller scales get three times as many.", 1, 100_000, metavar="N")
    )
    optimizer: str = _option("lbfgs", Help("Search", "How the pixels are moved.", choices=("lbfgs", "adam")))
    seed: int = _option(0, Help("Search", "Seed of --init noise and of --weights random.", 0, 2**63 - 1, metavar="N"))
    backbone: str = _option(
        "auto",
        Help(
            "Network", "Network that sees for us; auto is vgg19 if its weights are here, else compact.", metavar="NAME"
        ),
    )
    weights: str | None = _option(
        None,
        Help(
            "Network",
            "Its weights: a torchvision .pth or a .safetensors file, or random.",
            metavar="FILE|random",
            default="cache, download or bundled",
        ),
    )
    pooling: str = _option("max", Help("Network", "How the network pools.", choices=("max", "average")))
    padding: str = _option("reflect", Help("Network", "What it sees beyond the edge.", choices=("reflect", "zeros")))
    smooth_activations: bool = _option(
        False, Help("Network", "Smooth what it sees by a softmax; for residual networks.")
    )
    offline: bool = _option(False, Help("Network", "Never use the internet."))
    device: str = _option(
        "auto", Help("Machine", "Where to run: auto, cpu, cuda, cuda:N or mps.", metavar="auto|cpu|cuda[:N]|mps")
    )
    precision: str = _option(
        "auto",
        Help("Machine", "Of the convolutions; auto measures which is faster.", choices=("auto", "float32", "bfloat16")),
    )

    engine: str = _option(
        "torch", Help("Machine", "What runs a trained style; onnx is ONNX Runtime.", choices=("torch", "onnx"))
    )
    compile: bool = _option(
        False, Help("Machine", "Compile a trained style first: costs a minute, pays over many pictures.")
    )

    def __post_init__(self) -> None:
        for name in ("weights", "init"):
            if isinstance(path := getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(path))
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        if not self.style_weight and not self.content_weight:
            raise OptionError("style weight and content weight are both 0; give one of them a weight.")


FIELDS = {field.name: field for field in dataclasses.fields(Options)}
# Those that mean something with a trained style; the others belong to the search for a picture.
TRAINED = ("size", "max_pixels", "strength", "offline", "device", "precision", "engine", "compile")
DEFAULTS = {name: field.default for name, field in FIELDS.items()}


def flag(name: str) -> str:
    """The command line's name of a field: `style_weight` to `--style-weight`."""
    return "--" + name.replace("_", "-")


def command(content: str, style: str, options: Mapping[str, Any]) -> str:
    """The shell command that repeats a run: what is not default, each value quoted where it must be."""
    flags: list[str] = []
    for name, value in options.items():
        if name in DEFAULTS and value != DEFAULTS[name]:
            flags += [flag(name)] if value is True else [flag(name), str(value)]
    pictures = [content, style]
    # A name that begins with a dash would be taken for a flag.
    words = (
        [*flags, "--", *pictures]
        if any(one.startswith("-") and one != "-" for one in pictures)
        else [*pictures, *flags]
    )
    return shlex.join(["styletx", "run", *words])


def layer_weights(layers: str) -> dict[str, float]:
    """Names and weights of "relu1_1,relu2_1=0.5".

    Raises:
        OptionError: a weight that is no positive number, a name given twice, or no name at all.
    """
    weights: dict[str, float] = {}
    for part in layers.split(","):
        name, _, text = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(text or 1)
        except ValueError:
            weight = math.nan
        if not name or name in weights or not 0 < weight < math.inf:
            raise OptionError(
                f"{layers!r} is no list of layers; write for example relu1_1,relu2_1=0.5, each name once, "
                "with a weight above 0."
            )
        weights[name] = weight
    return weights


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    about: Help = field.metadata["help"]
    if value is None and field.default is None:
        return
    if field.name == "size" and value == "original":
        return
    if about.choices and value not in about.choices:
        raise OptionError(f"{flag(field.name)} cannot be {value!r}; choose one of {', '.join(about.choices)}.")
    if about.minimum is not None:
        _check_number(field, about, value)
    elif not isinstance(value, type(field.default) if field.default is not None else str):
        kind = "True or False" if isinstance(field.default, bool) else "text"
        raise OptionError(f"{flag(field.name)} cannot be {value!r}; it is {kind}.")
    if field.name in ("style_layers", "content_layers"):
        layer_weights(value)


def _check_number(field: dataclasses.Field[Any], about: Help, value: Any) -> None:
    kinds = (int, float) if isinstance(field.default, float) else (int,)
    ends = f"at least {about.minimum:g}" if about.maximum is None else f"from {about.minimum:g} to {about.maximum:g}"
    # Compared before it is made a float, which overflows on a whole number of 400 digits.
    finite = isinstance(value, kinds) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if not finite:
        kind = "a number" if float in kinds else "a whole number"
        other = " or 'original'" if field.name == "size" else ""
        raise OptionError(f"{flag(field.name)} cannot be {value!r}; it is {kind} {ends}{other}.")
    if value < (about.minimum or 0) or (about.maximum is not None and value > about.maximum):
        raise OptionError(f"{flag(field.name)} cannot be {value!r}; it must be {ends}.")
