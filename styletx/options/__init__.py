"""Every option once: its default, unit and range. Flags, forms, metadata and validation are made from it.

`Options` says how a picture is repainted, `TrainingOptions` how a network is trained for a style.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

from styletx.errors import OptionError, field, hint, rendered, told
from styletx.options.looks import LOOKS
from styletx.options.specs import (
    ONE_PASS,
    OPTIMISATION,
    Spec,
    check,
    defaults,
    layer_weights,
    option,
    search,
    specs,
    takes_fractions,
)

__all__ = [
    "LOOKS",
    "ONE_PASS",
    "OPTIMISATION",
    "PLACES",
    "OptionKeywords",
    "Options",
    "Spec",
    "TrainingOptions",
    "combined",
    "defaults",
    "explained",
    "idle",
    "is_offline",
    "layer_weights",
    "paths",
    "specs",
    "takes_fractions",
]

PLACES = ("weights", "init", "palette", "keep", "detail", "strength")  # fields of `Options` that may be a path


@dataclass(frozen=True)
class Options:
    """How a picture is repainted. Every field has a default; a value that cannot work raises `OptionError`.

    Layers are given as "relu1_1,relu2_1=0.5": names, each with a weight if it is not 1.
    """

    size: int | str = option(
        768, "Picture", "Long side of the result in px, or 'original'.", 16, 65_536, metavar="PX", words=("original",)
    )
    style_size: int | None = option(
        None,
        "Picture",
        "Long side in px at which the painting is seen; smaller gives finer strokes.",
        *(16, 65_536),
        metavar="PX",
        default_text=f"as {field('size')}",
    )
    stroke_size: float = option(
        1.0, "Picture", "Width of strokes: 1 is as wide as the painting has them at this size.", 0.25, 4, metavar="X"
    )
    method: str = option(
        "optimisation",
        "Picture",
        "Paint any painting in one pass, which takes a few seconds, instead of optimising.",
        choices=("optimisation", "one-pass"),
    )
    init: str = search(
        "content",
        "Picture",
        "What to start from: content, style, noise or a picture file.",
        metavar="content|style|noise|FILE",
    )
    max_pixels: int = option(
        250_000_000, "Picture", "Largest picture to read, in pixels.", 256, metavar="N", default_text="250 million"
    )
    strip_metadata: bool = option(
        False, "Picture", "Leave the photograph's EXIF data and how it was painted out of the result."
    )
    embed_paths: bool = option(False, "Picture", "Tell in the result where pictures were, not just their names.")
    look: str = search(
        "balanced",
        "Look",
        "Bundle of options, which single ones overrule: faithful keeps small things, bold has wide strokes.",
        choices=tuple(LOOKS),
    )
    style_weight: float = search(60.0, "Look", "Weight of the style loss: more is more painting.", 0, metavar="W")
    content_weight: float | None = search(
        None, "Look", "Weight of the content loss: more is more photograph.", 0, metavar="W", default_text="the look's"
    )
    tv_weight: float = search(0.0, "Look", "Weight of the total variation loss: more is smoother.", 0, metavar="W")
    match: float | None = search(
        None,
        "Look",
        "How closely each part follows the part of the painting most like it, from 0 to 1.",
        *(0, 1),
        metavar="M",
        default_text="the look's",
    )
    regions: str | None = option(
        None,
        "Look",
        "Match regions of the photograph with regions of the painting first (auto), and places within these.",
        choices=("auto",),
        default_text="places alone",
    )
    rotations: bool = search(False, "Look", "Also match the painting rotated by 90°, 180° and 270°.")
    colors: str = option(
        "painting",
        "Look",
        "Whose colours the result has: the painting's; the photograph's, with painted lights and darks; the "
        "photograph's range of them (match); or the photograph's, with strokes painted in grey (luminance).",
        choices=("painting", "photo", "match", "luminance"),
    )
    palette: str | None = option(
        None, "Look", "Picture whose range of colours the result has instead.", metavar="FILE", default_text="none"
    )
    keep: str | None = option(
        None,
        "Look",
        "Mask: a picture whose white parts stay photograph, and grey ones in part.",
        metavar="FILE",
        default_text="none",
    )
    detail: str | None = option(
        None,
        "Look",
        "Where the photograph's details show: edges, auto, which is edges and text, or a mask.",
        metavar="auto|edges|FILE",
        default_text="none",
    )
    keep_faces: float = option(
        0.0,
        "Look",
        "How much of the photograph's details faces have, from 0 to 1; needs styletx[faces].",
        0,
        1,
        metavar="S",
    )
    strength: float | str = option(
        1.0,
        "Look",
        "How much of the result shows over the photograph, from 0 to 1; or a mask, which shows it where it is white.",
        *(0, 1),
        metavar="S|FILE",
    )
    seamless: str | None = option(
        None,
        "Look",
        "Make a tile that continues across its edges: left to right (x), top to bottom (y), or both.",
        choices=("x", "y", "xy"),
        default_text="no tile",
    )
    paint_alpha: bool = option(
        False, "Look", "Let strokes end where a transparent photograph's shapes do, instead of cutting them there."
    )
    style_layers: str | None = search(
        None, "Look", "Layers that carry style, as NAME[=WEIGHT],…", metavar="LAYERS", default_text="the backbone's"
    )
    content_layers: str | None = search(
        None, "Look", "Layers that carry content, as NAME[=WEIGHT],…", metavar="LAYERS", default_text="the backbone's"
    )
    iterations: int = search(
        12,
        "Search",
        "Evaluations at full size; smaller scales get two or three times as many.",
        1,
        100_000,
        metavar="N",
    )
    optimizer: str = search("lbfgs", "Search", "Optimiser of the pixels.", choices=("lbfgs", "adam"))
    seed: int = option(0, "Search", "Seed of noise, of grain and of random weights.", 0, 2**63 - 1, metavar="N")
    backbone: str = search(
        "auto",
        "Network",
        "Network that compares the pictures; auto is vgg19 if its weights are here, else compact.",
        metavar="NAME",
    )
    weights: str | None = search(
        None,
        "Network",
        "Weights of the backbone: a torchvision .pth or a .safetensors file, or random.",
        metavar="FILE|random",
        default_text="cache, download or bundled",
    )
    pooling: str = search("max", "Network", "Pooling of the backbone.", choices=("max", "average"))
    padding: str = search("reflect", "Network", "Padding at the image border.", choices=("reflect", "zeros"))
    smooth_activations: bool = search(False, "Network", "Smooth the activations by a softmax; for residual networks.")
    offline: bool = option(False, "Network", "Never use the internet.")
    device: str = option(
        "auto", "Machine", "Where to run: auto, cpu, cuda, cuda:N or mps.", metavar="auto|cpu|cuda[:N]|mps"
    )
    precision: str = option(
        "auto",
        "Machine",
        "Precision of the convolutions; auto is bfloat16 where the processor has instructions for it.",
        choices=("auto", "float32", "bfloat16"),
    )
    tile: int | str = search(
        "auto",
        "Machine",
        "Side in px of the tiles in which a large picture is painted, which take less memory and give the same.",
        *(64, 65_536),
        metavar="PX|auto|off",
        words=("auto", "off"),
    )
    runtime: str = option(
        "torch",
        "Machine",
        "What executes a trained style; onnx is ONNX Runtime.",
        choices=("torch", "onnx"),
        method=ONE_PASS,
    )
    compile: bool = option(
        False,
        "Machine",
        "Compile a trained style first: takes a minute, pays off over many pictures of one size.",
        method=ONE_PASS,
    )

    def __post_init__(self) -> None:
        for name in PLACES:
            if isinstance(path := getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(path))
        check(self)
        if self.palette is not None and self.colors != "painting":
            raise OptionError(f"{field('palette')} says which colours the result has; remove {field('colors')}")
        if self.keep is not None and isinstance(self.strength, str):
            raise OptionError(f"{field('keep')} and {field('strength')} are masks of one and its opposite; give one")
        if not self.style_weight and not self.resolved().content_weight:
            raise OptionError(
                f"{field('style_weight')} and {field('content_weight')} are both 0; give one of them a weight above 0"
            )

    def resolved(self) -> Options:
        """The same, with the look's values where none were given."""
        missing: dict[str, Any] = {
            name: value for name, value in LOOKS[self.look].items() if getattr(self, name) is None
        }
        return dataclasses.replace(self, **missing) if missing else self


def paths(options: Mapping[str, Any]) -> dict[str, str]:
    """Those fields that may be paths and are text, of options as a mapping; such as `vars(Options())`."""
    return {name: value for name in PLACES if isinstance(value := options.get(name), str)}


def is_offline(asked: bool | None) -> bool:
    """Whether the internet must not be used; None takes it from `STYLETX_OFFLINE`."""
    if asked is not None:
        return asked
    return os.environ.get("STYLETX_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


class OptionKeywords(TypedDict, total=False):
    """The fields of `Options` as keywords, for editors and type checkers; a test holds the two together."""

    size: int | str
    style_size: int | None
    stroke_size: float
    method: str
    init: str | os.PathLike[str]
    max_pixels: int
    strip_metadata: bool
    embed_paths: bool
    look: str
    style_weight: float
    content_weight: float | None
    tv_weight: float
    match: float | None
    regions: str | None
    rotations: bool
    colors: str
    palette: str | os.PathLike[str] | None
    keep: str | os.PathLike[str] | None
    detail: str | os.PathLike[str] | None
    keep_faces: float
    strength: float | str | os.PathLike[str]
    seamless: str | None
    paint_alpha: bool
    style_layers: str | None
    content_layers: str | None
    iterations: int
    optimizer: str
    seed: int
    backbone: str
    weights: str | os.PathLike[str] | None
    pooling: str
    padding: str
    smooth_activations: bool
    offline: bool
    device: str
    precision: str
    tile: int | str
    runtime: str
    compile: bool


def _as_in_options(name: str) -> Any:
    one = Options.__dataclass_fields__[name]
    return dataclasses.field(default=one.default, metadata=one.metadata)


# Weight of a training's style: with what was painted first, which shows the strokes, and where only statistics do.
LEARNT, TOLD = 5.0, 60.0


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained for a style. A value that cannot work raises `OptionError`."""

    pairs: int = option(
        120,
        "Training",
        "Photographs that the optimisation paints first, for the network to learn from; 0 is none.",
        0,
        metavar="N",
    )
    size: int = option(
        448,
        "Training",
        "Long side in px of the photographs that are painted first, and of the painting: the size at which the strokes "
        "are as wide as in the painting.",
        64,
        8192,
        metavar="PX",
    )
    steps: int = option(2400, "Training", "Updates of the network.", 1, metavar="N")
    batch: int = option(3, "Training", "Photographs per step and device.", 1, metavar="N")
    crop: int = option(224, "Training", "Side of the square crops in px.", 64, 2048, metavar="PX")
    content_weight: float = option(
        1.0,
        "Training",
        "Weight of what is where: more is more like what was painted first, or like the photograph without that.",
        0,
        metavar="W",
    )
    style_weight: float | None = option(
        None,
        "Training",
        "Weight of the style loss: more is more painting.",
        0,
        metavar="W",
        default_text=f"{LEARNT:g}, or {TOLD:g} without pairs",
    )
    steadiness: float = option(
        1.0, "Training", "Weight of strokes that move with the photograph: more is less lattice.", 0, metavar="W"
    )
    tv_weight: float = option(0.0, "Training", "Weight of the total variation loss: more is smoother.", 0, metavar="W")
    rate: float = option(
        0.02, "Training", "Learning rate; use a quarter of it if the training diverges.", 1e-6, 1, metavar="R"
    )
    ramp: float = option(
        0.6, "Training", "Share of the steps until the style has its full weight, from 0 to 1.", 0, 1, metavar="S"
    )
    every: int = option(250, "Training", "Steps between checkpoints.", 1, metavar="N")
    seed: int = option(0, "Training", "Seed of first weights, order and crops.", 0, 2**63 - 1, metavar="N")
    widths: tuple[int, ...] = option(
        (16, 48, 96),
        "Network",
        "Channels of each stage, which halves the size.",
        metavar="N,…",
        default_text="16,48,96",
    )
    blocks: int = option(5, "Network", "Residual blocks.", 0, 64, metavar="N")
    expansion: int = option(
        0, "Network", "Expansion of a residual block; 0 is two 3×3 convolutions.", 0, 8, metavar="N"
    )
    backbone: str = _as_in_options("backbone")
    weights: str | None = _as_in_options("weights")

    def __post_init__(self) -> None:
        check(self)
        if not 0 < self.style + self.content_weight < math.inf:
            raise OptionError(
                f"{field('style_weight')} and {field('content_weight')} make no loss; give one of them a weight above 0"
            )

    @property
    def style(self) -> float:
        """The weight of the style loss."""
        if self.style_weight is not None:
            return self.style_weight
        return LEARNT if self.pairs else TOLD


def combined(options: Options | None, keywords: Mapping[str, Any]) -> Options:
    """Options with some of their fields changed by keywords; None stands for the defaults.

    Raises:
        OptionError: an unknown keyword, or a value that cannot work.
    """
    if options is not None and not isinstance(options, Options):
        raise OptionError(
            f"options cannot be {told(options)}; make them by styletx.Options(size=768), or give keywords"
        )
    known = defaults(Options)
    for name in keywords:
        if name not in known:
            raise OptionError(f"no option is called {name!r}; {hint(name, known)}")
    return dataclasses.replace(options or Options(), **keywords)


Function = TypeVar("Function", bound=Callable[..., Any])


def explained(function: Function) -> Function:
    """Add to a function's docstring, under `keywords:`, the name, type, meaning and default of every option."""
    lines = [
        f"            {one.name} ({one.type}): {rendered(one.metadata['spec'].text)} Default: {one.default!r}."
        for one in dataclasses.fields(Options)
    ]
    before, mark, after = (function.__doc__ or "").partition("        keywords: ")
    first, _, rest = after.partition("\n")
    function.__doc__ = "\n".join([before + mark + first, *lines, rest])
    return function


def idle(options: Options, method: str) -> list[str]:
    """The fields that were changed although they do not affect this method."""
    plain = defaults(Options)
    return [
        name
        for name, spec in specs(Options).items()
        if spec.method not in (None, method) and getattr(options, name) != plain[name]
    ]
