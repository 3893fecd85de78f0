"""Floors: a module imports only from floors below its own, and from rooms to the left on its own floor."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from conftest import Processes

import styletx
from styletx import errors

PACKAGE = Path(styletx.__file__).parent
FLOORS = (
    ("_version", "errors", "notes"),
    ("options", "files", "colors", "matching", "devices", "images", "grain", "context"),
    ("backbones", "losses", "regions", "painting"),
    ("optimization", "feedforward"),
    ("stylizers", "inspection"),
    ("films", "batches"),
    ("web", "cli", "__main__"),
)
FLOOR = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}
# A room may also use the rooms to its left on the same floor.
ORDER = {module: place for place, module in enumerate(module for modules in FLOORS for module in modules)}


def imports(source: str, package: tuple[str, ...]) -> set[str]:
    """First-floor names of styletx that a module's text imports, wherever in it; `package` is the one it is in."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            found |= {(*base, alias.name) for alias in node.names}
    return {names[1] for names in found if names[0] == "styletx" and len(names) > 1}


SOURCES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_imports_are_found_wherever_they_are() -> None:
    source = """
import os, styletx.images.deep
from styletx import losses
from styletx.backbones.registry import VGG19
from . import devices
from ..errors import StyletxError
def late():
    if True:
        from styletx.stylizers import Run
"""
    assert imports(source, ("styletx",)) == {"images", "losses", "backbones", "stylizers", "devices"}
    assert imports("from ..errors import StyletxError", ("styletx", "cli")) == {"errors"}
    assert imports("from . import vgg", ("styletx", "backbones")) == {"backbones"}
    assert imports("import numpy.typing", ("styletx",)) == set()


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_module_imports_only_from_lower_floors(path: Path) -> None:
    own = path.parts[0].removesuffix(".py")
    assert own in FLOOR, f"{own} has no floor yet; put it on one"
    source = (PACKAGE / path).read_text(encoding="utf-8")
    wrong = [
        name
        for name in imports(source, ("styletx", *path.parts[:-1]))
        if name != own and ORDER.get(name, 0 if name == "__version__" else 99) >= ORDER[own]
    ]
    assert not wrong, f"{path}, on floor {FLOOR[own]}, imports {', '.join(sorted(wrong))}"


def test_every_floor_is_guarded() -> None:
    modules = {path.parts[0].removesuffix(".py") for path in SOURCES}
    assert modules <= FLOOR.keys()
    assert {"errors", "images", "losses", "optimization", "stylizers", "cli"} <= modules


@pytest.mark.parametrize("module", ["styletx", "styletx.cli", "styletx.options", "styletx.errors"])
def test_torch_is_not_imported_before_it_is_needed(processes: Processes, module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {{'torch', 'numpy', 'PIL'}}))"
    done = processes.finish(sys.executable, "-c", code)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_torch_comes_with_the_first_name_that_needs_it(processes: Processes) -> None:
    code = "import sys, styletx; styletx.stylize; print('torch' in sys.modules)"
    done = processes.finish(sys.executable, "-c", code)
    assert (done.stdout.strip(), done.stderr) == ("True", "")


# What messages look like

BELOW_CLI = [path for path in SOURCES if path.parts[0].removesuffix(".py") not in FLOORS[-1]]
ERRORS = {
    name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, errors.StyletxError)
}
FLAG = re.compile(r"(?<![\w`-])(--[a-z][a-z-]+|-[a-zA-Z](?=[ ,.;:)]|$))")


@pytest.mark.parametrize("path", BELOW_CLI, ids=str)
def test_flags_are_the_command_lines_own(path: Path) -> None:
    """Below the command line an option is a field: a web page or a library has no flags."""
    source = (PACKAGE / path).read_text(encoding="utf-8")
    texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    texts += [line.partition("#")[2] for line in source.splitlines() if "#" in line]
    found = [match for text in texts if isinstance(text, str) for match in FLAG.findall(text)]
    assert not found, f"{path} mentions {', '.join(found)}; name the field by errors.field"


def last_text(node: ast.expr) -> str:
    """The end of a message as it stands in the source."""
    if isinstance(node, ast.JoinedStr):
        return last_text(node.values[-1])
    return str(node.value) if isinstance(node, ast.Constant) else ""


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_messages_end_alike(path: Path) -> None:
    """A message is a line without a full stop: it may be shown within another."""
    for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
        is_error = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS
        if is_error and isinstance(node, ast.Call) and node.args:
            assert not last_text(node.args[0]).endswith((".", "!", "\n")), ast.unparse(node)


def test_words_are_kept_apart() -> None:
    """A method, a runtime or an executor; nothing is called an engine."""
    engines = [str(path) for path in SOURCES if re.search(r"\bengine", (PACKAGE / path).read_text("utf-8"), re.I)]
    assert not engines
