"""Commands killed at random instants: is anything lost, damaged or left over?"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from attacks.ground import ground, homes, table
from attacks.judging import read

LIMIT = 60  # seconds
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

SMALL = ("--size", "48", "--device", "cpu")
KILLED: dict[str, tuple[str, ...]] = {
    "run": ("photo.png", "painting.png", *SMALL, "--iterations", "5", "--timelapse", "out/a.gif", "-o", "out/run.png"),
    "batch": ("photos", "-s", "mosaic", "-s", "scream", "-o", "out", *SMALL, "--report"),
    "train": (
        *("painting.png", "--photos", "photos", "-o", "out/mine.safetensors", "--steps", "6", "--every", "1"),
        *("--crop", "64", "--batch", "2", "--size", "48", "--pairs", "4", "--backbone", "compact", "--widths", "4,8"),
        *("--blocks", "1", "--device", "cpu"),
    ),
    "inspect": ("compact", "photo.png", "--texture", "--size", "48", "--iterations", "5", "-o", "out/texture.png"),
    "export": ("model.safetensors", "-o", "out/model.onnx"),
}


def started(name: str, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """A command of `KILLED` that has just begun."""
    line = [sys.executable, "-m", "styletx", name, *KILLED[name], *more]
    with open(folder / "said", "wb") as said:
        return subprocess.Popen(
            line, cwd=folder, env=os.environ | homes(folder), stdout=said, stderr=said, stdin=subprocess.DEVNULL
        )


def unfinished(folder: Path) -> list[str]:
    """What is wrong with the files of an output folder that has been left alone."""
    import onnx
    import torch
    from safetensors.torch import load_file

    def whole(path: Path) -> None:
        with Image.open(path) as image:
            for frame in range(getattr(image, "n_frames", 1)):
                image.seek(frame)
                image.load()

    readers: dict[str, Callable[[Path], Any]] = {
        **{".png": whole, ".gif": whole, ".safetensors": load_file},
        **{".onnx": lambda path: onnx.checker.check_model(onnx.load(path), full_check=True)},
        **{".pt": lambda path: torch.load(path, weights_only=True)},
    }
    wrong = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in readers and not path.name.startswith(".styletx-"):
            try:
                readers[path.suffix](path)
            except Exception as error:
                wrong.append(f"{path.name} is damaged ({type(error).__name__}: {error})")
    return wrong


def killed(name: str, random: Random, folder: Path, duration: float) -> tuple[str, str]:
    """Start a command, kill it, look, and start it again; gives what was done and what is wrong."""
    number, delay = random.choice(SIGNALS), duration * random.random() ** 0.5
    before = {path: read(path) for path in folder.rglob("*") if path.is_file() and "home" not in path.parts}
    inputs = {path: data for path, data in before.items() if folder / "out" not in path.parents and path.name != "said"}
    told = f"{name} with {number.name} after {delay:.2f} s of {duration:.2f} s, {len(before)} files before"
    process = started(name, folder)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    process.send_signal(number)
    try:
        process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        return told, f"{number.name} did not end it within {LIMIT} s"
    wrong = unfinished(folder / "out")
    wrong += [f"{path.name} is lost" for path in before if not path.exists() and path.name != "said"]
    wrong += [f"{path.name} changed" for path, data in inputs.items() if read(path) != data]
    wrong += ["mine.png changed"] if read(folder / "out" / "mine.png") != read(folder / "photo.png") else []
    resumed = ("--resume",) if name == "train" and (folder / "out/mine.training/checkpoint.pt").exists() else ()
    again = started(name, folder, *resumed)
    try:
        code = again.wait(2 * LIMIT)
    except subprocess.TimeoutExpired:
        again.kill()
        return told, f"the next start {resumed} did not end"
    if code:
        wrong.append(f"the next start {resumed} ended with {code}: {read(folder / 'said').decode()[-300:]!a}")
    wrong += unfinished(folder / "out")
    wrong += [f"{path.relative_to(folder)} is left" for path in folder.rglob(".styletx-*.tmp")]
    return told, "; ".join(wrong)


def kills(count: int, seed: int) -> int:
    """Kill commands at random instants; gives how many kills cost something."""
    tally: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as place:
        base = Path(place)
        os.environ.update(ground(base))
        fresh = base / "fresh"
        shutil.copytree(base / "kit", fresh)
        (fresh / "photos").mkdir()
        (fresh / "out").mkdir()
        shutil.copy(fresh / "photo.png", fresh / "out" / "mine.png")
        for index in range(8):
            Image.open(fresh / "photo.png").rotate(45 * index).resize((96, 96)).save(fresh / "photos" / f"{index}.png")
        durations: dict[str, float] = {}
        for index in range(count):
            name, folder = list(KILLED)[index % len(KILLED)], base / "killed"
            finished = base / f"finished-{name}"
            if name not in durations:
                shutil.copytree(fresh, finished)
                begun = time.monotonic()
                if started(name, finished).wait(5 * LIMIT):
                    raise SystemExit(f"{name} fails without a kill: {read(finished / 'said').decode()}")
                durations[name] = time.monotonic() - begun
            source = Random(f"{seed} kill {index}")
            shutil.copytree(finished if source.random() < 0.4 else fresh, folder)
            told, wrong = killed(name, source, folder, durations[name])
            tally[name, "wrong" if wrong else "right"] += 1
            if wrong:
                print(f"kill {index} wrong: {wrong} | {told}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    return table(tally, "command")
