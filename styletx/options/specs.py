"""Declarations of options: what one means and what it may be, how a class of them is read, and how it is checked."""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from styletx.errors import OptionError, field, told

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

OPTIMISATION, ONE_PASS = "optimisation", "one pass"


@dataclass(frozen=True)
class Spec:
    """What one option means, and what it may be.

    Attributes:
        group: heading under which help lists it.
        text: one sentence, with the unit; other options in it are named by `errors.field`.
        minimum: least value, or None.
        maximum: greatest value, or None.
        choices: all values there are, or None for any.
        metavar: what stands for the value in help.
        default_text: how the default reads where the value itself says too little.
        method: the only method that it affects, or None for both.
        words: what it may be beside a number.
    """

    group: str
    text: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None
    metavar: str | None = None
    default_text: str | None = None
    method: str | None = None
    words: tuple[str, ...] = ()


def option(
    default: Any, group: str, text: str, minimum: float | None = None, maximum: float | None = None, **about: Any
) -> Any:
    """A field of a class of options, with its `Spec`."""
    return dataclasses.field(default=default, metadata={"spec": Spec(group, text, minimum, maximum, **about)})


def search(
    default: Any, group: str, text: str, minimum: float | None = None, maximum: float | None = None, **about: Any
) -> Any:
    """As `option`, for one that affects the optimisation only."""
    return option(default, group, text, minimum, maximum, method=OPTIMISATION, **about)


def specs(options: type[DataclassInstance]) -> dict[str, Spec]:
    """The declarations of `Options` or `TrainingOptions`: field name to its spec, in order."""
    return {one.name: one.metadata["spec"] for one in dataclasses.fields(options)}


def defaults(options: type[DataclassInstance]) -> dict[str, Any]:
    """The defaults of `Options` or `TrainingOptions`: field name to value, in order."""
    return {one.name: one.default for one in dataclasses.fields(options)}


def layer_weights(layers: str) -> dict[str, float]:
    """Names and weights of "relu1_1,relu2_1=0.5".

    Raises:
        OptionError: a weight that is not a positive number, a name given twice, or no name at all.
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
                f"{layers!r} is not a list of layers; write for example relu1_1,relu2_1=0.5, each name once, "
                "with a weight above 0"
            )
        weights[name] = weight
    return weights


def takes_fractions(one: dataclasses.Field[Any]) -> bool:
    """Whether an option is a number that need not be whole."""
    return "float" in str(one.type)


def check(options: DataclassInstance) -> None:
    """Check every field against its spec.

    Raises:
        OptionError: a value cannot work; the message names the field.
    """
    for one in dataclasses.fields(options):
        spec, value = one.metadata["spec"], getattr(options, one.name)
        if value is None and one.default is None:
            continue
        if (isinstance(value, str) and value in spec.words) or (one.name == "strength" and _is_name(value)):
            continue
        if spec.choices and not (isinstance(value, str) and value in spec.choices):
            raise OptionError(f"{field(one.name)} cannot be {told(value)}; choose one of {', '.join(spec.choices)}")
        if spec.minimum is not None:
            _check_number(one, spec, value)
        elif not isinstance(value, type(one.default) if one.default is not None else str):
            kind = {bool: "True or False", tuple: "whole numbers"}.get(type(one.default), "text")
            raise OptionError(f"{field(one.name)} cannot be {told(value)}; it must be {kind}")
        if one.name in ("style_layers", "content_layers"):
            layer_weights(value)


def _is_name(value: object) -> bool:
    """Whether it is the name of a file, and no number that is written as text."""
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def _check_number(one: dataclasses.Field[Any], spec: Spec, value: Any) -> None:
    kinds = (int, float) if takes_fractions(one) else (int,)
    ends = f"at least {spec.minimum:g}" if spec.maximum is None else f"from {spec.minimum:g} to {spec.maximum:g}"
    # Compared before it is made a float, which overflows on a whole number of 400 digits.
    finite = isinstance(value, kinds) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if not finite:
        kind = "a number" if float in kinds else "a whole number"
        other = ", or the name of a mask" if one.name == "strength" else "".join(f" or {word!r}" for word in spec.words)
        raise OptionError(f"{field(one.name)} cannot be {told(value)}; it must be {kind} {ends}{other}")
    if value < (spec.minimum or 0) or (spec.maximum is not None and value > spec.maximum):
        raise OptionError(f"{field(one.name)} cannot be {told(value)}; it must be {ends}")
