"""Command-line flags made from the declarations of options, so that a default, a range or a unit is written once."""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from styletx import files
from styletx.errors import OptionError, field, nearest, rendered
from styletx.notes import Note
from styletx.options import LOOKS, Options, Spec, TrainingOptions, defaults, specs, takes_fractions

# Fields whose flag is not simply their name.
FLAGS = {"output": "-o", "start": "--from", "as_json": "--json", "style": "--style", "method": "--fast"}


def flag(name: str) -> str:
    """The command line's name of a field: `style_weight` to `--style-weight`."""
    return FLAGS.get(name) or "--" + name.replace("_", "-")


class GroupedCommand(click.Command):
    """A command whose help lists options under their groups, and its own first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, with advice where a name with spaces may have been taken for several."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            advice = f"{error.message.rstrip('.')}. Put quotes around a name with spaces."
            raise click.UsageError(advice, ctx) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section a group."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                group = parameter.spec.group if isinstance(parameter, SpecOption) else "Options"
                groups.setdefault(group, []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


class SpecOption(click.Option):
    """A flag made from a `Spec`."""

    def __init__(self, *args: Any, spec: Spec, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spec = spec


class Pixels(click.ParamType[Any]):
    """A whole number of pixels, or one of some words."""

    name = "px"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or the word."""
        try:
            return value if value in self.words else int(value)
        except ValueError:
            words = " nor ".join(map(repr, self.words))
            self.fail(f"{value!r} is neither a whole number of px nor {words}.", param, ctx)


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers between commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(number) for number in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 16,48,96.", param, ctx)


class Finite(click.ParamType[float]):
    """A number, which "nan" and "inf" are not."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return float(number)


class Share(Finite):
    """A number, or else a file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or the file's name."""
        try:
            float(value)
        except ValueError:
            if not os.path.exists(files.local(value)):
                self.fail(f"{value!r} is neither a number nor a file.", param, ctx)
            return str(value)
        return super().convert(value, param, ctx)


class Choice(click.Choice[str]):
    """One of a few names; after one that is nearly right, the error suggests it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        if param is not None and param.name == "regions" and value not in self.choices:
            self.fail(f"{value!r} is not 'auto'; a mask is given by --region MASK=STYLE.", param, ctx)
        if value not in self.choices and (near := nearest(value, self.choices)):
            self.fail(f"{value!r} is not one of {', '.join(self.choices)}; did you mean {near!r}?", param, ctx)
        return super().convert(value, param, ctx)


def region_flag(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--region MASK=STYLE`, as `region`; after a style and a "+", each is read as a part of that."""
    text = "Paint what is white in the picture MASK in another style. May be given repeatedly."
    about: dict[str, Any] = {"multiple": True, "metavar": "MASK=STYLE", "help": text, "callback": _regions}
    return click.option("--region", **about)(function)


def _regions(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    for region in value:
        if not all(region.partition("=")):
            raise OptionError(f"{field('region')} {region!r} is not a mask and a style; write for example sky.png=pen")
    return value


def recipe_flag(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--recipe FILE`, which gives style and options unless they are given themselves."""
    text = "Take style and options from a file that --save-recipe wrote; others on the command line override them."
    about: dict[str, Any] = {"metavar": "FILE", "help": text, "is_eager": True, "callback": _recipe}
    return click.option("--recipe", **about)(function)


def _recipe(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        from styletx.stylizers import recipes

        recipe = recipes.read(files.local(value))
        ctx.default_map = {**recipe.options, "styles": [recipe.style], **(ctx.default_map or {})}
        ctx.obj = recipe
    return value


def told_apart(ctx: click.Context, sha256: str | None) -> Iterator[Note]:
    """A note if the style that a recipe names is not the one that it was written with."""
    is_its_own = ctx.get_parameter_source("styles") is ParameterSource.DEFAULT_MAP and not ctx.params["region"]
    if is_its_own and ctx.obj.sha256 not in (None, sha256):
        name = files.shown(ctx.params["recipe"])
        yield Note(f"The style is not the one that {name} was written with, so the look will differ.")


def option_flags(*names: str, but: Iterable[str] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a flag for each of these fields of `Options`, or for all of them, each with its environment variable."""
    return _flags(Options, names, but, environment=True)


def training_flags() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a flag for each field of `TrainingOptions`."""
    return _flags(TrainingOptions, (), (), environment=False)


def _flags(
    options: type[Any], names: Iterable[str], but: Iterable[str], environment: bool
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    fields = {one.name: one for one in dataclasses.fields(options) if one.name not in set(but)}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(tuple(names) or tuple(fields)):
            function = _flag(fields[name], environment)(function)
        return function

    return decorate


def _flag(one: dataclasses.Field[Any], environment: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    spec: Spec = one.metadata["spec"]
    about: dict[str, Any] = {"spec": spec, "cls": SpecOption, "default": one.default, "help": rendered(spec.text, flag)}
    if environment:
        about["envvar"] = f"STYLETX_{one.name.upper()}"
    if one.name == "method":
        about.pop("envvar", None)  # click would take the variable for a yes or no
        return click.option(flag(one.name), one.name, flag_value="one-pass", callback=_method, **about)
    if isinstance(one.default, bool):
        return click.option(flag(one.name), is_flag=True, **about)
    shown = rendered(spec.default_text, flag) if spec.default_text else True
    return click.option(flag(one.name), type=_type(one, spec), metavar=spec.metavar, show_default=shown, **about)


def _method(ctx: click.Context, param: click.Parameter, value: str) -> str:
    given = os.environ.get("STYLETX_METHOD")
    if not given or ctx.get_parameter_source("method") is not ParameterSource.DEFAULT:
        return value
    return Choice(specs(Options)["method"].choices or ()).convert(given, param, ctx)


def _type(one: dataclasses.Field[Any], spec: Spec) -> Any:
    if spec.words:
        return Pixels(spec.words)
    if one.name == "strength":
        return Share()
    if spec.choices:
        return Choice(spec.choices)
    if isinstance(one.default, tuple):
        return Numbers()
    if spec.minimum is None:
        return str
    return Finite() if takes_fractions(one) else int


def value_of(name: str, text: str) -> Any:
    """The value that an option's flag would read in a text; "none" is that of an option that has none by default.

    Raises:
        OptionError: it is no such value.
    """
    one = next(one for one in dataclasses.fields(Options) if one.name == name)
    if one.default is None and text == "none":
        return None
    kind = click.types.convert_type(bool if isinstance(one.default, bool) else _type(one, one.metadata["spec"]))
    try:
        return kind.convert(text, None, None)
    except click.BadParameter as error:
        raise OptionError(f"{field(name)}: {error.message}") from None


def command(content: str, style: str, options: Mapping[str, Any]) -> str:
    """The shell command that repeats a run: what is not default, each value quoted where it must be."""
    look = options.get("look", Options.look)
    plain = {**defaults(Options), **LOOKS.get(str(look), {})}
    words: list[str] = []
    for name, value in options.items():
        if name in plain and value is not None and value != plain[name]:
            words += [flag(name)] if value is True or name == "method" else [flag(name), str(value)]
    pictures = [content, style]
    # A name that begins with a dash would be taken for a flag.
    is_like_flag = any(one.startswith("-") and one != "-" for one in pictures)
    return shlex.join(["styletx", "run", *([*words, "--", *pictures] if is_like_flag else [*pictures, *words])])
