"""The other commands, and bad input to all of them: one line, exit code 2, nothing written."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import Machine, possible
from PIL import Image, PngImagePlugin

from styletx import __version__, backbones, images, optimization
from styletx.cli import COMMANDS, main
from styletx.cli.flags import flag
from styletx.feedforward import models
from styletx.options import Options, defaults, specs

PICTURES = ["photo.png", "painting.png"]


class Stdin(io.BytesIO):
    name = "<stdin>"


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.fixture(autouse=True)
def folder(
    content_picture: Path, style_picture: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A folder that holds good and bad pictures and weights, to work in."""
    monkeypatch.chdir(content_picture.parent)
    monkeypatch.setenv("STYLETX_WEIGHTS", str(tiny_weights))
    Path("text.jpg").write_text("I am a picture, believe me.")
    Path("cut.png").write_bytes(content_picture.read_bytes()[:900])
    Path("empty.png").touch()
    Path("folder.png").mkdir()
    Path("bad.safetensors").write_bytes(os.urandom(5000))
    Path("bad.pth").write_bytes(pickle.dumps({"features.0.weight": Bomb()}))
    yield
    assert not Path("exploded").exists()


def call(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(main, arguments, **options)


def refused(result: Result) -> str:
    """The one error line of something that was refused; click may say above it how to call the command."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit) and "Traceback" not in result.output and not result.stdout
    *above, error = result.stderr.splitlines()
    assert error.startswith("Error: ") and not any(line.startswith("Error") for line in above)
    return error


BAD = {
    "no content": ("nowhere.png painting.png", "nowhere.png: file not found; check the name"),
    "no style": ("photo.png nowhere.png", "nowhere.png: file not found; check the name"),
    "one picture": ("photo.png", "Missing argument 'STYLE[:WEIGHT]...'"),
    "folder": ("folder.png painting.png", "folder.png is a folder"),
    "text": ("text.jpg painting.png", "text.jpg"),
    "truncated": ("photo.png cut.png", "cut.png"),
    "empty": ("empty.png painting.png", "empty.png is empty"),
    "init": ("@ --init nowhere.png", "nowhere.png: file not found; check the name"),
    "extension": ("@ -o out.bmp", "use one of .png"),
    "no extension": ("@ -o out", "use one of .png"),
    "output folder": ("@ -o folder.png", "folder.png is a folder"),
    "under a file": ("@ -o photo.png/out.png", "photo.png/out.png cannot be written"),
    "unwritable": ("@ -o /proc/out.png", "/proc/out.png cannot be written"),
    "film extension": ("@ --timelapse out.avi", "end it in one of .gif"),
    "film unwritable": ("@ --timelapse /proc/out.gif", "/proc/"),
    "text as number": ("@ --size big", "'big' is neither a whole number of px nor 'original'"),
    "fraction": ("@ --iterations 1.5", "--iterations"),
    "none": ("@ --iterations 0", "--iterations cannot be 0; it must be from 1"),
    "tiny": ("@ --size 15", "--size cannot be 15; it must be from 16"),
    "too flat": ("@ --size 16", "give --size"),
    "negative": ("@ --style-weight -1", "--style-weight cannot be -1.0; it must be at least 0"),
    "not a number": ("@ --tv-weight nan", "Invalid value for '--tv-weight': 'nan' is not a finite number"),
    "stages": ("@ --save-every 0", "--save-every"),
    "both zero": ("@ --style-weight 0 --content-weight 0", "give one of them a weight"),
    "unknown option": ("@ --stlye-weight 3", "Did you mean"),
    "unknown optimizer": ("@ --optimizer lbgfs", "did you mean 'lbfgs'?"),
    "unknown layer": ("@ --style-layers relu1_9", "no layer of vgg19 is called 'relu1_9'; did you mean 'relu1_"),
    "deep layer": ("@ --content-layers relu4_2", "does not reach relu4_2; choose among"),
    "layer list": ("@ --style-layers relu1_1=0", "is not a list of layers"),
    "unknown backbone": ("@ --backbone vgg91", "did you mean 'vgg19'?"),
    "unknown device": ("@ --device tpu9", "no device is called 'tpu9'; choose auto"),
    "absent device": ("@ --device cuda:63", "--device cuda:63: this machine has no CUDA device; use auto or cpu"),
    "no weights": ("@ --weights nowhere.pth", "nowhere.pth: file not found; check the name"),
    "garbage weights": ("@ --weights bad.safetensors", "bad.safetensors is damaged"),
    "code as weights": ("@ --weights bad.pth", "bad.pth is damaged or holds more than tensors"),
    "picture as weights": ("@ --weights photo.png", "photo.png is damaged"),
    "empty stdin": ("- painting.png", "<stdin> is empty"),
    "json to stdout": ("@ -o - --json", "the picture goes to stdout, so --json cannot"),
    "stages to stdout": ("@ -o - --save-every 3", "--save-every has no place"),
    "over the limit": ("@ --max-pixels 1000", "over the limit of 1,000"),
}


@pytest.mark.parametrize(("arguments", "told"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_any_work(arguments: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(*_: Any, **__: Any) -> Any:
        raise AssertionError("the optimisation began")

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}

    monkeypatch.setattr(optimization, "coarse_to_fine", begun)
    before = contents()
    assert told in refused(call("run", *shlex.split(arguments.replace("@", " ".join(PICTURES))), input=Stdin()))
    assert contents() == before


def test_bad_variables_are_refused_like_bad_flags() -> None:
    assert "did you mean 'adam'" in refused(call("run", *PICTURES, env={"STYLETX_OPTIMIZER": "adan"}))
    assert "--size cannot be 4" in refused(call("run", *PICTURES, env={"STYLETX_SIZE": "4"}))


@pytest.mark.parametrize(("typed", "meant"), [("rum", "run"), ("docter", "doctor"), ("wieghts", "weights")])
def test_an_unknown_command_gets_the_nearest(typed: str, meant: str) -> None:
    assert refused(call(typed)) == f"Error: no command is called {typed!r}; did you mean {meant!r}?"


def test_help_groups_every_option_with_its_default_and_unit() -> None:
    shown = call("run", "-h", terminal_width=200).stdout
    sections = dict(zip(*[iter(re.split(r"^(\w+):\n", shown, flags=re.MULTILINE)[1:])] * 2, strict=True))
    assert list(sections) == ["Options", *dict.fromkeys(spec.group for spec in specs(Options).values())]
    for name, spec in specs(Options).items():
        entries = re.split(r"^  (?=-)", sections[spec.group], flags=re.MULTILINE)
        (entry,) = (entry for entry in entries if entry.startswith(f"{flag(name)} "))
        assert isinstance(defaults(Options)[name], bool) or name == "method" or "[default: " in entry
    assert re.search(r"--size PX +Long side of the result in px, or 'original'\. +\[default: 768\]", shown)
    assert "[default: (outputs/CONTENT-STYLE.png)]" in sections["Options"]
    assert all(f"  {name} " in call("-h").stdout for name in COMMANDS)


@pytest.mark.parametrize("name", ["photo.png", "a b 'c'.png", "-dash.png", "ü$(x).png", "-"])
def test_the_command_that_info_prints_repeats_the_run(name: str) -> None:
    data = Path("photo.png").read_bytes()
    if name != "-":
        Path(possible(name)).write_bytes(data)
    options = "--size 32 --iterations 4 --init noise --seed 7 --tv-weight 0.125 --embed-paths"
    options += " --style-layers relu1_1=0.3,relu2_1"
    run = call("run", "-o", "first.png", *options.split(), "--", name, "painting.png", input=Stdin(data))
    assert run.exit_code == 0, run.output
    facts = json.loads(call("info", "first.png", "--json").stdout)
    text = call("info", "first.png").stdout
    (line,) = re.findall(r"^command +(.*)$", text, flags=re.MULTILINE)
    program, command, *arguments = shlex.split(line)
    assert program == "styletx" and facts["command"] == line
    again = call(command, "-o", "again.png", *arguments, input=Stdin(data), env={"STYLETX_WEIGHTS": None})
    assert again.exit_code == 0, again.output
    assert np.array_equal(np.asarray(Image.open("first.png")), np.asarray(Image.open("again.png")))
    assert images.read_metadata("again.png")["losses"] == facts["losses"]


def test_info_tells_options_seed_version_weights_and_sources(tiny_weights: Path) -> None:
    call("run", *PICTURES, "--size", "32", "--iterations", "1", "--seed", "41", "-o", "out.png")
    text = call("info", "out.png").stdout
    sha256 = hashlib.sha256(tiny_weights.read_bytes()).hexdigest()
    for told in ("seed 41", "size 32", f"styletx         {__version__}", sha256, "photo.png", "painting.png"):
        assert told in text


@pytest.mark.parametrize(
    "metadata",
    [
        {"options": [1]},
        {"options": {"look": {"a": 1}}},
        {"content": 3, "style": None},
        {"note": "\x1b[31mred\x07"},
    ],
)
def test_info_survives_metadata_that_others_wrote(metadata: dict[str, Any]) -> None:
    information = PngImagePlugin.PngInfo()
    information.add_text("styletx", json.dumps(metadata))
    Image.new("RGB", (20, 20)).save("odd.png", pnginfo=information)
    result = call("info", "odd.png", color=True)
    assert result.exit_code == 0 and "command" in result.stdout and "\x1b" not in result.stdout


def test_info_tells_how_a_style_was_trained() -> None:
    path = {style.name: style.path for style in models.styles()}["mosaic"]
    facts = json.loads(call("info", str(path), "--json").stdout)
    assert facts["style"] == "mosaic.jpg" and facts["training"]["steps"] > 0
    assert re.search(r"^style +mosaic\.jpg$", call("info", "mosaic").stdout, re.MULTILINE)
    assert "pen" in refused(call("info", "penn"))
    assert "file" in refused(call("info", "nowhere.safetensors"))


def test_without_a_command_there_is_help() -> None:
    for arguments in ([], ["weights", "fetch"]):
        told = call(*arguments)
        assert told.exit_code == 2 and "\\n" not in told.stderr and told.stderr.count("\n") > 1


@pytest.mark.parametrize("file", ["photo.png", "text.jpg", "nowhere.png", "folder.png"])
def test_info_refuses_what_holds_no_run(file: str) -> None:
    assert file in refused(call("info", file))


def test_weights_are_listed_as_text_and_as_json() -> None:
    rows = {row["name"]: row for row in json.loads(call("weights", "--json").stdout)}
    assert list(rows) == list(backbones.ARCHITECTURES)
    assert (rows["vgg19"]["origin"], rows["vgg19"]["path"], rows["vgg19"]["size"]) == (None, None, 574_673_361)
    assert rows["compact"]["origin"] == "bundled"
    assert rows["compact"]["size"] == Path(rows["compact"]["path"]).stat().st_size
    text = call("weights").stdout
    assert re.search(r"vgg19 +574\.7 MB +not on this machine\n +styletx weights fetch vgg19; CC BY 4\.0", text)


def test_without_the_internet_there_is_an_answer_that_says_what_to_do() -> None:
    fetched = call("weights", "fetch", "vgg19", "--offline")
    run = call("run", *PICTURES, "--backbone", "vgg19", "--offline", env={"STYLETX_WEIGHTS": None})
    assert (
        refused(fetched)
        == refused(run)
        == (
            "Error: the weights of vgg19 are not on this machine, and --offline or STYLETX_OFFLINE forbids downloading "
            "them; run `styletx weights fetch vgg19` while online, or download "
            "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth elsewhere and give it as --weights, "
            "or use --backbone compact"
        )
    )


def test_fetching_says_what_to_do_or_where_the_file_is() -> None:
    assert "did you mean 'vgg16'?" in refused(call("weights", "fetch", "vgg166"))
    fetched = call("weights", "fetch", "compact")
    assert fetched.exit_code == 0 and Path(fetched.stdout.strip()).is_file()


def test_doctor_tells_ten_facts(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = call("doctor", "--device", "cpu", "--precision", "float32").stdout.splitlines()
    facts = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert len(lines) == len(facts) == 10
    assert facts["styletx"] == __version__ and facts["torch"] == f"{torch.__version__}, pillow {PIL.__version__}"
    assert facts["device"].startswith("cpu (") and facts["device"].endswith(", as requested")
    assert facts["precision"] == "float32, as requested"
    assert facts["threads"] == str(torch.get_num_threads())
    assert re.fullmatch(r"\d+\.\d GiB free|unknown", facts["memory"])
    assert facts["weights"] == f"vgg19 to relu2_1, file: {tiny_weights}"
    assert facts["cache"] == os.environ["STYLETX_CACHE"]
    assert facts["network"] == "not used (--offline)"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("avx512_bf16", "bfloat16, since the processor has avx512_bf16"),
        ("avx2", "float32, since the processor has no bfloat16 instructions"),
    ],
)
def test_doctor_says_why_a_precision_is_used(machine: Machine, flags: str, told: str) -> None:
    machine.processor(f"flags : {flags}")
    assert f"precision  {told}\n" in call("doctor").stdout


def test_doctor_shows_the_notes_that_a_run_would_show() -> None:
    told = call("doctor", env={"STYLETX_WEIGHTS": None})
    assert "compact to relu5_1, bundled: " in told.stdout
    assert told.stderr == "Note: Using the bundled compact network. For the full VGG-19 (575 MB): " + (
        "styletx weights fetch vgg19\n"
    )
    assert "Note: THE WEIGHTS ARE RANDOM: vgg19" in (told := call("doctor", "--weights", "random")).stderr
    assert "Remove --weights to use a trained network." in told.stderr


def test_doctor_says_which_weights_are_missing_or_bad() -> None:
    assert (
        "vgg19: not on this machine; get them with: styletx weights fetch vgg19"
        in call("doctor", "--backbone", "vgg19", env={"STYLETX_WEIGHTS": None}).stdout
    )
    assert "bad.pth is damaged" in call("doctor", "--weights", "bad.pth").stdout
    assert "did you mean" in refused(call("doctor", "--backbone", "vgg91"))
    assert "no device is called" in refused(call("doctor", "--device", "tpu9"))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX's timer")
@pytest.mark.parametrize(
    "arguments",
    [
        "run photo.png pipe.safetensors",
        "run photo.png pipe.onnx",
        "run photo.png painting.png --weights pipe.pth",
        "run photo.png painting.png --init pipe.png",
        "run pipe.png painting.png",
        "export pipe.safetensors -o out.onnx",
        "info pipe.png",
        "inspect compact pipe.png",
        "batch @pipe.txt -s mosaic -o out",
        "batch photo.png -s mosaic -o piped",
        "train painting.png --photos photos -o out.safetensors --from pipe.safetensors",
    ],
)
def test_nothing_waits_for_a_pipe_that_nobody_writes_to(arguments: str) -> None:
    os.makedirs("piped")
    os.makedirs("photos")
    for name in ("pipe.safetensors", "pipe.onnx", "pipe.pth", "pipe.png", "pipe.txt", "piped/manifest.jsonl"):
        os.mkfifo(name)

    def late(number: int, frame: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        assert "not an ordinary file" in refused(call(*arguments.split()))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
