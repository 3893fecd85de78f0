"""The examples in CONTRIBUTING.md, a loss term and a backbone, carried out literally in a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/conftest.py", "tests/weights_files.py")
COPIED = ("styletx", "assets/content/coffee.jpg", "assets/styles/impasto.jpg", *TESTS, "pyproject.toml")
BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>\w+)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code and the text before it, back to the previous block."""

    kind: str
    text: str
    before: str

    @property
    def path(self) -> str:
        """The file that the text before names last."""
        return re.findall(r"`([\w/.]+\.py)`", self.before)[-1]


def blocks(document: str, heading: str) -> list[Block]:
    """The blocks of the section under a heading."""
    section = re.split(r"^## ", document.split(f"## {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    found, end = [], 0
    for match in BLOCK.finditer(section):
        found.append(Block(match["kind"], textwrap.dedent(match["text"]), section[end : match.start()]))
        end = match.end()
    return found


def patched(source: str, diff: str) -> str:
    """A file with a diff carried out: the lines of a part that are not added must be there once, in order."""
    position = 0
    for part in re.split(r"^@@\n", diff, flags=re.MULTILINE):
        lines = part.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] != "+")
        new = "".join(line[1:] for line in lines if line[0] != "-")
        assert source.count(old, position) == 1, f"these lines should be there once:\n{old}"
        position = source.index(old, position)
        source = source[:position] + new + source[position + len(old) :]
        position += len(new)
    return source


def carry_out(block: Block, folder: Path) -> str:
    """Create a file, change one, or run commands; returns what the commands print."""
    if block.kind == "python":
        assert not (folder / block.path).exists()
        (folder / block.path).write_text(block.text, encoding="utf-8")
    elif block.kind == "diff":
        source = (folder / block.path).read_text(encoding="utf-8")
        (folder / block.path).write_text(patched(source, block.text), encoding="utf-8")
    else:
        assert block.kind == "sh"
        return output(["bash", "-euc", block.text], folder)
    return ""


def output(command: list[str], folder: Path) -> str:
    """What a command prints that uses the copy of the package."""
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PATH": os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "OMP_WAIT_POLICY": "passive",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A copy of the package, with the commands `styletx` and `pytest` of its own."""
    for name in COPIED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name)
        else:
            shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name in ("styletx", "pytest"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {name} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


@pytest.fixture(scope="module")
def document() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_a_diff_needs_its_lines_once() -> None:
    assert patched("a\nb\nc\nb\n", " a\n-b\n+d\n@@\n c\n+e\n") == "a\nd\nc\ne\nb\n"
    with pytest.raises(AssertionError, match="should be there once"):
        patched("a\nb\nc\nb\n", " b\n+d\n")


@pytest.mark.skipif(os.name == "nt", reason="the document's commands are a POSIX shell's")
def test_a_loss_term(document: str, scratch: Path) -> None:
    found = blocks(document, "Example: add a loss term")
    assert [block.kind for block in found] == ["python", "diff", "diff", "diff", "python", "sh"]
    printed = "".join(carry_out(block, scratch) for block in found)
    assert "3 passed" in printed
    with Image.open(scratch / "outputs" / "mean.png") as picture:
        assert max(picture.size) == 128
    program = """
import json, styletx
options = dict(size=64, iterations=20, match=0, device="cpu", precision="float32", backbone="compact")
for weight in (0.001, 6000):
    stylizer = styletx.load_stylizer("assets/styles/impasto.jpg", mean_weight=weight, **options)
    *_, last = stylizer.start("assets/content/coffee.jpg")
    print(json.dumps(last.losses))
"""
    light, heavy = map(json.loads, output([sys.executable, "-c", program], scratch).splitlines())
    assert heavy["mean"] < light["mean"] / 2
    assert heavy["style"] > light["style"]  # something was given up for it


@pytest.mark.skipif(os.name == "nt", reason="the document's commands are a POSIX shell's")
def test_a_backbone(document: str, scratch: Path) -> None:
    found = blocks(document, "Example: add a backbone")
    assert [block.kind for block in found] == ["diff", "sh", "sh"]
    printed = "".join(carry_out(block, scratch) for block in found)
    assert re.search(r"^small\b", printed, re.MULTILINE) and "relu2_2" in printed
    told = output(["bash", "-euc", "styletx info outputs/small.png"], scratch)
    assert "small" in told
    with Image.open(scratch / "outputs" / "small.png") as picture:
        assert max(picture.size) == 128
