"""The public list: what it names is there, is explained, and is all that the README uses."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest

import styletx

README = Path(__file__).resolve().parents[1] / "README.md"


def documented() -> list[str]:
    return [
        name for name in styletx.__all__ if inspect.isclass(getattr(styletx, name)) or callable(getattr(styletx, name))
    ]


def test_every_name_is_there() -> None:
    for name in styletx.__all__:
        assert getattr(styletx, name) is not None
    assert len(set(styletx.__all__)) == len(styletx.__all__)
    namespace: dict[str, object] = {}
    exec("from styletx import *", namespace)
    assert set(styletx.__all__) <= namespace.keys()


def test_listing_is_the_public_list() -> None:
    assert dir(styletx) == sorted(styletx.__all__)
    with pytest.raises(AttributeError, match="'styletx' has no attribute 'stylise'"):
        styletx.stylise  # noqa: B018


@pytest.mark.parametrize("name", documented())
def test_every_name_is_explained(name: str) -> None:
    thing = getattr(styletx, name)
    explanation = thing.__doc__
    assert explanation and explanation.splitlines()[0].rstrip().endswith((".", ":"))
    if dataclasses.is_dataclass(thing):
        assert not explanation.startswith(f"{name}("), "this is only what dataclasses write themselves"
    if inspect.isclass(thing):
        for method, member in vars(thing).items():
            if not method.startswith("_") and (callable(member) or isinstance(member, property)):
                assert member.__doc__, f"{name}.{method}"


@pytest.mark.parametrize("name", [name for name in documented() if inspect.isfunction(getattr(styletx, name))])
def test_every_argument_is_explained(name: str) -> None:
    function = getattr(styletx, name)
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^ +{argument}: \w", function.__doc__, re.MULTILINE), argument


def test_every_type_that_is_returned_is_public() -> None:
    """Of functions and of public classes' methods and properties."""
    returned: dict[str, str] = {}
    for name in documented():
        thing = getattr(styletx, name)
        members = {name: thing} if inspect.isfunction(thing) else vars(thing)
        for member, function in members.items():
            function = function.fget if isinstance(function, property) else function
            if inspect.isfunction(function) and (member == "__iter__" or not member.startswith("_")):
                returned[f"{name}.{member}"] = str(inspect.signature(function).return_annotation)
    ours = {"Notes": "Note"} | {
        name: name
        for module in ("stylizers", "batches", "notes", "optimization", "feedforward.models")
        for name, thing in vars(importlib.import_module(f"styletx.{module}")).items()
        if inspect.isclass(thing) and thing.__module__.startswith("styletx.")
    }
    found = {ours[word]: where for where, text in returned.items() for word in re.findall(r"\w+", text) if word in ours}
    assert {"Result", "Stylizer", "Run", "Step", "Record", "Style", "Note"} <= found.keys()
    missing = {name: where for name, where in found.items() if name not in styletx.__all__}
    assert not missing


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def used(block: str) -> set[str]:
    """Names taken from styletx itself, as `styletx.X` or by `from styletx import X`."""
    found = set()
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "styletx":
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "styletx":
            found |= {alias.name for alias in node.names}
    return found


def test_use_of_names_is_seen() -> None:
    text = (
        "```python\nimport styletx\nstyletx.stylize(1).save(2)\n```\n\n```python\nfrom styletx import Options, x\n```\n"
    )
    assert [used(block) for block in python_blocks(text)] == [{"stylize"}, {"Options", "x"}]


@pytest.mark.skipif(not README.is_file(), reason="README.md is not written yet")
def test_readme_uses_public_names_only() -> None:
    names = set().union(*(used(block) for block in python_blocks(README.read_text(encoding="utf-8"))))
    assert names, "README.md shows how the library is used"
    assert names <= set(styletx.__all__)
