"""A tiny network's weights as they are published, and a server that has them, for tests of files and downloads."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import torch

from styletx.backbones import vgg
from styletx.backbones.registry import Architecture, Download
from styletx.errors import StyletxError

BLOCKS = ((4, 4), (6,))
LAYERS = ("relu1_1", "relu1_2", "relu2_1")


def published_state() -> dict[str, torch.Tensor]:
    """A state dict as torchvision publishes them, classifier and all; some 60 kB of it."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "features.0.weight": (4, 3, 3, 3),
        "features.0.bias": (4,),
        "features.2.weight": (4, 4, 3, 3),
        "features.2.bias": (4,),
        "features.5.weight": (6, 4, 3, 3),
        "features.5.bias": (6,),
        "classifier.0.weight": (100, 150),
        "classifier.0.bias": (100,),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def published_file() -> bytes:
    file = io.BytesIO()
    # The old format, which torchvision's VGG files are in.
    torch.save(published_state(), file, _use_new_zipfile_serialization=False)
    return file.getvalue()


CONTENT = published_file()


def tiny(url: str | None = None, content: bytes = CONTENT, bundled: str | None = None) -> Architecture:
    download = Download(url, hashlib.sha256(content).hexdigest()[:8], len(content)) if url else None
    return Architecture(
        name="tiny",
        build=partial(vgg.VGG, BLOCKS),
        convert=partial(vgg.from_torchvision, blocks=BLOCKS),
        layers=LAYERS,
        style_layers=("relu1_1", "relu2_1"),
        content_layers=("relu1_2",),
        licence="none",
        download=download,
        bundled=bundled,
    )


class Server:
    """Serves `content`, and misbehaves on demand.

    Attributes:
        ranges: whether it can send a part of the file.
        cuts: after how many bytes to break off each coming answer; afterwards it sends whole ones.
        errors: the status codes of the coming answers, before any good one.
        hold: nothing is sent before this is set.
        requests: the `Range` header of each request so far, None where there was none.
    """

    def __init__(self) -> None:
        self.content = CONTENT
        self.ranges = True
        self.cuts: list[int] = []
        self.errors: list[int] = []
        self.hold = threading.Event()
        self.hold.set()
        self.requests: list[str | None] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/tiny.pth"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers["Range"]
        self.requests.append(asked)
        self.hold.wait(20)
        if self.errors:
            handler.send_error(self.errors.pop(0))
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        handler.end_headers()
        handler.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.hold.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


def convolutions() -> dict[str, torch.Tensor]:
    """What should be found, by names written out."""
    state = published_state()
    places = {"relu1_1": 0, "relu1_2": 2, "relu2_1": 5}
    return {
        f"convolutions.{layer}.{kind}": state[f"features.{index}.{kind}"]
        for layer, index in places.items()
        for kind in ("weight", "bias")
    }


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def one_line(error: pytest.ExceptionInfo[StyletxError]) -> str:
    message = str(error.value)
    assert message and "\n" not in message
    return message


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tiny.lock"}


def write(path: Path, state: dict[str, torch.Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(state, path)
    return path
