"""Options: what they accept, how they refuse, and their way through the command line and back."""

from __future__ import annotations

import dataclasses
import math
import re
import shlex
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import styletx
from styletx.cli.flags import command, flag
from styletx.cli.run import command as run_command
from styletx.cli.train import command as train_command
from styletx.errors import OptionError
from styletx.options import (
    LOOKS,
    ONE_PASS,
    OPTIMISATION,
    PLACES,
    OptionKeywords,
    Options,
    Spec,
    TrainingOptions,
    combined,
    defaults,
    idle,
    layer_weights,
    specs,
)

SPECS, DEFAULTS = specs(Options), defaults(Options)
FIELDS = list(SPECS)


def about(name: str) -> Spec:
    return SPECS[name]


NUMBERS = [name for name in FIELDS if about(name).minimum is not None]
FRACTIONS = {"stroke_size", "style_weight", "content_weight", "tv_weight", "match", "keep_faces", "strength"}
WHOLE = [name for name in NUMBERS if name not in FRACTIONS]
CHOICES = [name for name in FIELDS if about(name).choices]
LAYERS = ["style_layers", "content_layers"]

NAMES = st.from_regex(r"[a-z][a-z0-9_.]{0,8}", fullmatch=True)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
WEIGHTS = st.dictionaries(NAMES, POSITIVE, min_size=1, max_size=5)
# No process can be given a NUL, nor what is no text.
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=12)


def written(weights: dict[str, float]) -> str:
    return ",".join(f"{name}={weight!r}" for name, weight in weights.items())


def allowed(name: str) -> st.SearchStrategy[Any]:
    """Any value that a field accepts."""
    spec, default = about(name), DEFAULTS[name]
    if spec.choices:
        return st.sampled_from(spec.choices)
    if isinstance(default, bool):
        return st.booleans()
    if name in LAYERS:
        return st.none() | WEIGHTS.map(written)
    if name in WHOLE:
        numbers = st.integers(int(spec.minimum or 0), None if spec.maximum is None else int(spec.maximum))
        if spec.maximum is None:
            numbers = numbers.filter(lambda value: value < 1e300)
        return (
            numbers
            | (st.sampled_from(spec.words) if spec.words else st.nothing())
            | (st.none() if default is None else st.nothing())
        )
    if name in NUMBERS:
        return st.floats(spec.minimum, spec.maximum, allow_nan=False, allow_infinity=False)
    return TEXT if default is not None else st.none() | TEXT


def any_options() -> st.SearchStrategy[dict[str, Any]]:
    def works(values: dict[str, Any]) -> bool:
        is_clear = values.get("palette") is None or values.get("colors", "painting") == "painting"
        return is_clear and bool(values.get("style_weight", 1) or values.get("content_weight", 1))

    return st.fixed_dictionaries({}, optional={name: allowed(name) for name in FIELDS}).filter(works)


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STYLETX_OFFLINE")


def refusal(**values: Any) -> str:
    with pytest.raises(OptionError) as error:
        Options(**values)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


# What is said of them


@pytest.mark.parametrize(
    ("options", "name"), [(options, name) for options in (Options, TrainingOptions) for name in specs(options)]
)
def test_every_option_is_described(options: type[Any], name: str) -> None:
    spec, default = specs(options)[name], defaults(options)[name]
    assert spec.group and re.fullmatch(r"[A-Z].*[.…]", spec.text)
    assert spec.method in (None, OPTIMISATION, ONE_PASS)
    if default is None:
        assert spec.default_text
    elif spec.minimum is not None and default not in spec.words:
        assert spec.minimum <= default
        assert spec.maximum is None or default <= spec.maximum
    elif spec.choices:
        assert default in spec.choices


def test_flags_are_distinct_and_on_the_command_line() -> None:
    for options, command_of in ((Options, run_command), (TrainingOptions, train_command)):
        flags = [flag(name) for name in specs(options)]
        assert len(set(flags)) == len(flags)
        on_command_line = {option for parameter in command_of.params for option in parameter.opts}
        assert set(flags) <= on_command_line
    assert flag("style_weight") == "--style-weight"


def test_defaults_work() -> None:
    assert dataclasses.asdict(Options()) == DEFAULTS
    assert dataclasses.asdict(TrainingOptions()) == defaults(TrainingOptions)


def test_keywords_for_editors_are_the_options() -> None:
    keywords, fields = get_type_hints(OptionKeywords), get_type_hints(Options)
    assert list(keywords) == list(fields)
    for name, hint in fields.items():
        # Options turns a path into text.
        assert hint == keywords[name] or name in PLACES, name


@pytest.mark.parametrize("function", [styletx.stylize, styletx.load_stylizer])
def test_help_shows_every_option(function: Any) -> None:
    for name, spec in SPECS.items():
        assert re.search(rf"^ +{name} \(.+\): {re.escape(spec.text[:10])}.* Default: ", function.__doc__, re.MULTILINE)


def test_keywords_change_options() -> None:
    assert combined(None, {}) == Options()
    given = Options(size=100, seed=3)
    assert combined(given, {"size": 200}) == Options(size=200, seed=3)
    with pytest.raises(OptionError, match="no option is called 'sise'; did you mean 'size'"):
        combined(given, {"sise": 200})
    with pytest.raises(OptionError, match="size cannot be 3"):
        combined(given, {"size": 3})


def test_options_of_the_other_method_are_idle() -> None:
    options = Options(size=100, style_weight=3.0, compile=True)
    assert idle(options, OPTIMISATION) == ["compile"]
    assert idle(options, ONE_PASS) == ["style_weight"]
    assert idle(Options(), OPTIMISATION) == idle(Options(), ONE_PASS) == []


# What they accept


@given(any_options())
def test_values_in_range_are_accepted(values: dict[str, Any]) -> None:
    assert dataclasses.asdict(Options(**values)) == DEFAULTS | values


@pytest.mark.parametrize("name", NUMBERS)
def test_ends_of_a_range_belong_to_it(name: str) -> None:
    low, high = about(name).minimum, about(name).maximum
    assert low is not None
    kind = type(DEFAULTS[name]) if isinstance(DEFAULTS[name], int | float) else int
    other = {"content_weight": "style_weight", "style_weight": "content_weight"}.get(name)
    beside: dict[str, Any] = {other: 1.0} if other else {}
    assert getattr(Options(**dict[str, Any]({name: kind(low)}), **beside), name) == low
    message = refusal(**{name: kind(low) - 1})
    assert name in message and f"{low:g}" in message
    if high is not None:
        assert getattr(Options(**dict[str, Any]({name: kind(high)})), name) == high
        assert name in refusal(**{name: kind(high) + 1})


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused(name: str) -> None:
    values: tuple[Any, ...] = (math.nan, math.inf, -math.inf, True, "many", "12", b"12", [1], {}, 1j)
    for value in values:
        if name == "strength" and value == "many":
            continue  # a mask's name
        assert name in refusal(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_beyond_floating_point_is_refused(name: str) -> None:
    assert name in refusal(**{name: 10**400})
    assert name in refusal(**{name: -(10**400)})


@pytest.mark.parametrize("name", WHOLE)
def test_a_fraction_is_refused_where_a_whole_number_is_meant(name: str) -> None:
    assert "whole number" in refusal(**{name: 20.5})


@given(st.sampled_from(CHOICES), st.text() | st.integers() | st.none() | st.lists(st.text()))
def test_other_choices_are_refused(name: str, value: Any) -> None:
    choices = about(name).choices
    assert choices
    if value not in (*choices, DEFAULTS[name]):
        message = refusal(**{name: value})
        assert name in message and all(choice in message for choice in choices)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in NUMBERS])
def test_wrong_types_are_refused(name: str) -> None:
    for value in (5, 1.5, b"x", ["x"]):
        assert name in refusal(**{name: value})


def test_without_any_weight_there_is_nothing_to_do() -> None:
    message = refusal(style_weight=0, content_weight=0.0, tv_weight=1)
    assert "style_weight" in message and "content_weight" in message


def test_they_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().size = 5  # type: ignore[misc]


# Layers


@given(WEIGHTS, st.lists(st.sampled_from(["", " ", "  "]), min_size=4, max_size=4))
def test_layer_weights_are_read_as_they_are_written(weights: dict[str, float], spaces: list[str]) -> None:
    before, around, after, end = spaces
    text = ",".join(f"{before}{name}{around}={after}{weight!r}{end}" for name, weight in weights.items())
    found = layer_weights(text)
    assert found == weights and list(found) == list(weights)


@given(st.lists(NAMES, min_size=1, unique=True))
def test_a_layer_without_a_weight_counts_once(names: list[str]) -> None:
    assert layer_weights(",".join(names)) == dict.fromkeys(names, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "a,",
        "a,,b",
        "=1",
        "a=0",
        "a=-1",
        "a=nan",
        "a=inf",
        "a=x",
        "a=1=2",
        "a,a",
        "a=1,b=2,a=3",
        "a=1e999",
        " ",
    ],
)
def test_what_is_no_list_of_layers_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=re.escape(repr(text))):
        layer_weights(text)
    for name in LAYERS:
        assert repr(text) in refusal(**{name: text})


# The command that repeats a run


def parsed(line: str) -> tuple[dict[str, Any], str, str]:
    """What the shell and then the command line make of a command."""
    program, verb, *arguments = shlex.split(line)
    assert (program, verb) == ("styletx", "run")
    values = run_command.make_context("run", arguments).params
    options = {name: value for name, value in values.items() if name in FIELDS}
    (style,) = values["styles"]
    return options, values["content"], style


def test_command_tells_what_is_not_default() -> None:
    assert command("a b.jpg", "it's.png", DEFAULTS) == """styletx run 'a b.jpg' 'it'"'"'s.png'"""
    changed = DEFAULTS | {"size": "original", "offline": True, "style_layers": "relu1_1,relu2_1=0.5"}
    line = command("a.jpg", "b.jpg", changed)
    assert line == "styletx run a.jpg b.jpg --size original --style-layers relu1_1,relu2_1=0.5 --offline"


@settings(deadline=None)
@given(any_options())
def test_command_repeats_the_same_options(values: dict[str, Any]) -> None:
    options = Options(**values)
    found, content, style = parsed(command("my photo.jpg", "$(painting)`.jpg", dataclasses.asdict(options)))
    assert Options(**found).resolved() == options.resolved()
    assert (content, style) == ("my photo.jpg", "$(painting)`.jpg")


@settings(deadline=None)
@given(TEXT, TEXT)
def test_command_repeats_the_same_pictures(content: str, style: str) -> None:
    _, *found = parsed(command(content, style, {"size": 64}))
    assert found == [content, style]


def test_command_takes_what_metadata_holds() -> None:
    # What an older or newer version wrote may hold options that are none here.
    assert command("a", "b", {"size": DEFAULTS["size"], "brushes": 3}) == "styletx run a b"


def test_a_flag_outweighs_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLETX_SIZE", "77")
    found, _, _ = parsed("styletx run a b")
    assert found["size"] == 77
    found, _, _ = parsed("styletx run a b --size 88")
    assert found["size"] == 88


# Looks


def test_a_look_gives_what_was_not_given() -> None:
    for name, values in LOOKS.items():
        resolved = Options(look=name).resolved()
        assert {one: getattr(resolved, one) for one in values} == values
        assert resolved.resolved() == resolved
    mixed = Options(look="bold", match=0.25).resolved()
    assert (mixed.match, mixed.content_weight) == (0.25, LOOKS["bold"]["content_weight"])
    assert dataclasses.replace(Options(), look="gram").resolved().match == 0


@pytest.mark.parametrize("wrong", [{"size": 64}, "size=64", Options])
def test_options_that_are_none_are_told(wrong: Any) -> None:
    with pytest.raises(OptionError, match=r"^options cannot be .*; make them by styletx\.Options\(size=768\), or give"):
        combined(wrong, {})
