"""The folder in which the attack takes place, with sound files to begin from, and from which nothing gets out."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from random import Random

from PIL import Image

from attacks.judging import PROJECT

OFFLINE = {"STYLETX_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
# Every interpreter that the attack starts imports it first: a look-up or a connection to elsewhere leaves a file.
SITE = """
import sys
def _heard(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect"):
        told = arguments[1] if event == "socket.connect" else arguments[0]
        host = told[0] if isinstance(told, tuple) else told if event != "socket.connect" else None
        if host not in (None, "", "localhost", "127.0.0.1", "::1"):
            with open({place!r}, "a") as file:
                print(event, host, file=file)
sys.addaudithook(_heard)
"""


def kit(folder: Path) -> None:
    """Make the sound files that every case begins with, and the attacks are made from."""
    import safetensors.torch
    import torch

    from styletx.feedforward import models as trained
    from styletx.feedforward import onnx
    from styletx.feedforward.networks import Layout, Transformer

    folder.mkdir(parents=True)
    source = Random(0)
    for name in ("photo.png", "painting.png"):
        Image.frombytes("RGB", (8, 6), source.randbytes(144)).resize((64, 48)).save(folder / name)
    torch.manual_seed(0)
    trained.write(
        folder / "model.safetensors", Transformer(Layout(widths=(4, 8), blocks=1)), {"name": "kit", "style": "x"}
    )
    onnx.write(folder / "model.onnx", trained.read(folder / "model.safetensors"))
    sizes = {0: (64, 3), 2: (64, 64), 5: (128, 64)}
    state = {f"features.{index}.weight": torch.randn(*of, 3, 3) / 20 for index, of in sizes.items()}
    state |= {f"features.{index}.bias": torch.zeros(of[0]) for index, of in sizes.items()}
    safetensors.torch.save_file(state, folder / "weights.safetensors")
    torch.save(state, folder / "weights.pth")


def ground(base: Path) -> dict[str, str]:
    """Prepare a folder for the attack; gives the variables that keep everything inside of it."""
    (base / "site").mkdir()
    (base / "site" / "sitecustomize.py").write_text(SITE.format(place=str(base / "looked-up")))
    kit(base / "kit")
    paths = [str(base / "site"), str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**OFFLINE, "PYTHONPATH": os.pathsep.join(paths), "MPLCONFIGDIR": str(base / "matplotlib")}


def homes(folder: Path) -> dict[str, str]:
    """The variables by which programs find their places, inside a folder."""
    names = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR", "STYLETX_CACHE")
    places = {name: folder / "home" / name.lower() for name in names}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    return {name: str(place) for name, place in places.items()}


def table(tally: Counter[tuple[str, str]], title: str) -> int:
    """Print how many cases of each kind are right, wrong and slow; gives how many are not right."""
    verdicts = ("right", "wrong", "slow")
    print(f"{title:12} {'cases':>7} " + " ".join(f"{one:>7}" for one in verdicts))
    for kind in [*dict.fromkeys(kind for kind, _ in tally), "all"]:
        counts = [
            sum(n for (of, is_so), n in tally.items() if is_so == one and kind in (of, "all")) for one in verdicts
        ]
        print(f"{kind:12} {sum(counts):7} " + " ".join(f"{one:7}" for one in counts))
    return sum(n for (_, verdict), n in tally.items() if verdict != "right")
