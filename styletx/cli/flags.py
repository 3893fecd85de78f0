"""Command-line flags made from `Options`, so that a default, a range or a unit is written once."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable
from typing import Any

import click

from styletx.options import FIELDS, Help, flag


class GroupedCommand(click.Command):
    """A command whose help lists the options of `Options` under their groups, and its own first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section a group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                field = FIELDS.get(parameter.name or "")
                group = "Options" if field is None else _help(field).group
                groups.setdefault(group, []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


class Size(click.ParamType[Any]):
    """A whole number of pixels, or 'original'."""

    name = "px"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or the word."""
        try:
            return value if value == "original" else int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number of px nor 'original'.", param, ctx)


class Finite(click.FloatRange):
    """A number in a range, which "nan" and "inf" are not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


class Choice(click.Choice[str]):
    """One of a few names, with an answer to one that is nearly right."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        near = difflib.get_close_matches(value, self.choices, n=1)
        if near and value not in self.choices:
            self.fail(f"{value!r} is not one of {', '.join(self.choices)}; did you mean {near[0]!r}?", param, ctx)
        return super().convert(value, param, ctx)


def option_flags(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a flag for each of these fields of `Options`, or for all of them, with its environment variable."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names or tuple(FIELDS)):
            function = _flag(FIELDS[name])(function)
        return function

    return decorate


def _flag(field: dataclasses.Field[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    about = _help(field)
    shared: dict[str, Any] = {"default": field.default, "envvar": f"STYLETX_{field.name.upper()}", "help": about.text}
    if isinstance(field.default, bool):
        return click.option(flag(field.name), is_flag=True, **shared)
    return click.option(
        flag(field.name),
        type=_type(field),
        metavar=about.metavar,
        show_default=about.default or True,
        **shared,
    )


def _type(field: dataclasses.Field[Any]) -> Any:
    about = _help(field)
    if field.name == "size":
        return Size()
    if about.choices:
        return Choice(about.choices)
    if about.minimum is None:
        return str
    return float if isinstance(field.default, float) else int


def _help(field: dataclasses.Field[Any]) -> Help:
    about: Help = field.metadata["help"]
    return about
