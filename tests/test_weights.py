"""Finding weights and downloading them, against a server on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
import torchvision

from styletx.backbones import downloads, places, vgg, weights
from styletx.backbones.registry import ARCHITECTURES, Architecture, Download
from styletx.errors import OutputError, StyletxError, WeightsError

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

    def close(self) -> None:
        self.hold.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLETX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("STYLETX_OFFLINE", raising=False)
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    return tmp_path / "cache"


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


# Downloads


def test_download_is_trimmed_and_kept(server: Server, cache: Path) -> None:
    reports: list[tuple[int, int]] = []
    found = places.find(tiny(server.url), download=lambda done, total: reports.append((done, total)))

    assert_same(found.state, convolutions())
    assert found.origin == "download"
    assert found.path == cache / "tiny.safetensors"
    assert found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert files(cache) == {"tiny.safetensors"}
    assert found.path.stat().st_size < len(CONTENT) / 10
    assert reports[0] == (0, len(CONTENT)) and reports[-1] == (len(CONTENT), len(CONTENT))
    with safetensors.safe_open(found.path, "pt") as file:
        assert file.metadata() == {
            "name": "tiny",
            "url": server.url,
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "licence": "none",
        }

    again = places.find(tiny(server.url))
    assert (again.origin, again.sha256) == ("cache", found.sha256)
    assert_same(again.state, convolutions())
    assert places.fetch(tiny(server.url)) == found.path
    assert server.requests == [None]


def test_wrong_hash_is_refused_and_removed(server: Server, cache: Path) -> None:
    server.content = bytes(byte ^ 1 for byte in CONTENT)
    with pytest.raises(WeightsError) as error:
        places.fetch(tiny(server.url))
    message = one_line(error)
    assert server.url in message and "SHA-256" in message and "as weights" in message
    assert files(cache) == set()


@pytest.mark.parametrize("ranges", [True, False])
def test_download_goes_on_where_it_broke_off(server: Server, ranges: bool) -> None:
    server.ranges = ranges
    half = len(CONTENT) // 2
    server.cuts = [half]
    assert_same(places.find(tiny(server.url)).state, convolutions())
    assert server.requests == [None, f"bytes={half}-"]


def test_many_cuts_are_survived_while_more_arrives(server: Server) -> None:
    part = len(CONTENT) // 12
    server.cuts = [part] * 11
    assert_same(places.find(tiny(server.url)).state, convolutions())
    assert len(server.requests) == 12


def test_download_of_another_process_goes_on(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "tiny.part").write_bytes(CONTENT[:1000])
    reports: list[int] = []
    places.fetch(tiny(server.url), download=lambda done, total: reports.append(done))
    assert server.requests == ["bytes=1000-"]
    assert reports[0] == 1000


@pytest.mark.parametrize("left", [1000, len(CONTENT), len(CONTENT) + 7])
def test_a_damaged_partial_file_is_started_over(server: Server, cache: Path, left: int) -> None:
    cache.mkdir()
    (cache / "tiny.part").write_bytes(b"?" * left)
    assert_same(places.find(tiny(server.url)).state, convolutions())
    assert server.requests[-1] is None
    assert files(cache) == {"tiny.safetensors"}


def test_a_line_that_always_breaks_ends_with_the_part_kept(server: Server, cache: Path) -> None:
    server.ranges = False
    server.cuts = [1000] * 20
    with pytest.raises(WeightsError) as error:
        places.fetch(tiny(server.url))
    assert "stopped at" in one_line(error) and "styletx weights fetch tiny" in one_line(error)
    assert (cache / "tiny.part").read_bytes() == CONTENT[:1000]

    server.cuts, server.ranges = [], True
    places.fetch(tiny(server.url))
    assert server.requests[-1] == "bytes=1000-"


def test_interrupted_download_is_kept(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "CHUNK", 1024)

    def interrupt(done: int, total: int) -> None:
        if done >= 4096:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        places.fetch(tiny(server.url), download=interrupt)
    assert (cache / "tiny.part").read_bytes() == CONTENT[:4096]
    places.fetch(tiny(server.url))
    assert server.requests == [None, "bytes=4096-"]


def test_server_error_passes_or_is_told(server: Server, cache: Path) -> None:
    server.errors = [503]
    places.fetch(tiny(server.url))
    assert len(server.requests) == 2

    shutil.rmtree(cache)
    server.errors = [500] * 20
    with pytest.raises(WeightsError) as error:
        places.fetch(tiny(server.url))
    message = one_line(error)
    assert "HTTP 500" in message and server.url in message and "as weights" in message


def test_missing_file_is_not_asked_for_again(server: Server) -> None:
    server.errors = [404]
    with pytest.raises(WeightsError, match=r"HTTP 404.*as weights"):
        places.fetch(tiny(server.url))
    assert len(server.requests) == 1


def test_another_file_in_its_place_is_refused_at_once(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "tiny.part").write_bytes(CONTENT[:1000])
    server.content, server.ranges = b"<html>Please log in</html>", False
    with pytest.raises(WeightsError, match="26 bytes"):
        places.fetch(tiny(server.url))
    assert (cache / "tiny.part").read_bytes() == CONTENT[:1000]


def test_no_server_is_one_clear_line(server: Server) -> None:
    server.close()
    with pytest.raises(WeightsError) as error:
        places.find(tiny(server.url))
    assert server.url in one_line(error) and "as weights" in one_line(error)


def test_unusable_cache_is_one_clear_line(server: Server, cache: Path) -> None:
    cache.write_text("not a folder")
    with pytest.raises(OutputError) as error:
        places.fetch(tiny(server.url))
    assert str(cache) in one_line(error) and "STYLETX_CACHE" in one_line(error)


def test_full_disk_is_told_before_anything_is_downloaded(server: Server, cache: Path) -> None:
    architecture = tiny(server.url)
    assert architecture.download
    huge = dataclasses.replace(architecture, download=dataclasses.replace(architecture.download, size=10**18))
    with pytest.raises(OutputError) as error:
        places.fetch(huge)
    assert str(cache) in one_line(error) and "room" in one_line(error)
    assert server.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_disk_that_fills_up_is_one_clear_line(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "tiny.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"no space left.*STYLETX_CACHE"):
        places.fetch(tiny(server.url))


FETCH = """
import sys
from functools import partial
from styletx.backbones import downloads, places, vgg, weights
from styletx.backbones.registry import Architecture, Download

url, sha256, size = sys.argv[1:]
blocks = ((4, 4), (6,))
architecture = Architecture(
    "tiny", partial(vgg.VGG, blocks), partial(vgg.from_torchvision, blocks=blocks), vgg.layer_names(blocks),
    ("relu1_1",), ("relu1_2",), "none", Download(url, sha256, int(size)),
)
print("asking", flush=True)
print(places.find(architecture).sha256)
"""


def test_two_processes_at_once_share_one_download(server: Server, cache: Path) -> None:
    server.hold.clear()
    # The hash comes from here: pickles differ from one process to the next.
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    command = [sys.executable, "-c", FETCH, server.url, sha256, str(len(CONTENT))]
    environment = {**os.environ, "PYTHONPATH": str(Path(weights.__file__).parents[2])}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
    # One has asked, and waits for the answer; the other has time to ask too, if nothing keeps it from that.
    deadline = time.monotonic() + 20
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    server.hold.set()
    hashes = {process.communicate(timeout=300)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert hashes == {hashlib.sha256((cache / "tiny.safetensors").read_bytes()).hexdigest()}
    assert server.requests == [None]
    assert files(cache) == {"tiny.safetensors"}


# Offline


@pytest.mark.parametrize("by_variable", [True, False])
def test_offline_never_asks(server: Server, monkeypatch: pytest.MonkeyPatch, by_variable: bool) -> None:
    if by_variable:
        monkeypatch.setenv("STYLETX_OFFLINE", "1")
    offline = None if by_variable else True
    for ask in (places.find, places.fetch):
        with pytest.raises(WeightsError) as error:
            ask(tiny(server.url), offline=offline)
        message = one_line(error)
        assert "styletx weights fetch tiny" in message and server.url in message and "as weights" in message
    assert server.requests == []


def test_the_argument_outweighs_the_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLETX_OFFLINE", "1")
    assert places.find(tiny(server.url), offline=False).origin == "download"


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_offline_can_be_off(server: Server, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("STYLETX_OFFLINE", value)
    assert places.find(tiny(server.url)).origin == "download"


# The order in which places are asked


def write(path: Path, state: dict[str, torch.Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(state, path)
    return path


def test_a_file_comes_before_the_cache(tmp_path: Path, cache: Path) -> None:
    write(cache / "tiny.safetensors", published_state())
    doubled = {name: 2 * tensor for name, tensor in published_state().items()}
    found = places.find(tiny(), file=write(tmp_path / "mine.safetensors", doubled))
    assert found.origin == "file"
    assert_same(found.state, {name: 2 * tensor for name, tensor in convolutions().items()})


def test_the_bundle_comes_last(server: Server, tmp_path: Path, cache: Path) -> None:
    bundle = write(tmp_path / "bundle.safetensors", published_state())
    both = tiny(server.url, bundled=str(bundle))  # an absolute path stays one
    assert places.locate(both) == ("bundled", bundle)
    assert places.find(both, offline=True).origin == "bundled"
    assert places.find(both).origin == "download"
    assert places.find(both).origin == "cache"
    assert places.locate(both) == ("cache", cache / "tiny.safetensors")


def test_what_ships_with_the_program_is_not_downloaded(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle.safetensors", published_state())
    assert places.fetch(tiny(bundled=str(bundle)), offline=True) == bundle


def test_nowhere_to_get_them_from() -> None:
    for ask in (places.find, places.fetch):
        with pytest.raises(WeightsError, match="as weights"):
            ask(tiny())


def test_damaged_cache_says_what_to_do_and_fetch_heals_it(server: Server, cache: Path) -> None:
    path = places.fetch(tiny(server.url))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError) as error:
        places.find(tiny(server.url))
    assert str(path) in one_line(error) and "styletx weights fetch tiny" in one_line(error)
    places.fetch(tiny(server.url))
    assert places.find(tiny(server.url)).origin == "cache"


def test_fetch_completes_a_truncated_cache(server: Server, cache: Path) -> None:
    shallow = {name: tensor for name, tensor in published_state().items() if name.startswith("features.0.")}
    write(cache / "tiny.safetensors", shallow)
    assert weights.reached(tiny(), places.find(tiny(server.url)).state) == ("relu1_1",)
    places.fetch(tiny(server.url))
    assert weights.reached(tiny(), places.find(tiny(server.url)).state) == LAYERS


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert places.cache_dir() == tmp_path / "cache"
    monkeypatch.setenv("STYLETX_CACHE", "~/elsewhere")
    assert places.cache_dir() == Path.home() / "elsewhere"
    monkeypatch.delenv("STYLETX_CACHE")
    assert places.cache_dir().name.lower() in ("styletx", "cache")
    assert places.cache_dir().is_absolute()


def test_listing_follows_what_is_there(cache: Path) -> None:
    before = {listed.name: listed for listed in places.listing()}
    assert before.keys() == ARCHITECTURES.keys()
    assert before["vgg19"].origin is None and before["vgg19"].path is None
    assert before["vgg19"].advice == "styletx weights fetch vgg19"
    path = write(cache / "vgg19.safetensors", published_state())
    after = {listed.name: listed for listed in places.listing()}["vgg19"]
    assert (after.origin, after.path, after.size) == ("cache", path, path.stat().st_size)
    for listed in before.values():
        if listed.origin == "bundled":
            assert listed.path is not None and listed.path.is_file()


# Files


def test_every_format_is_read(tmp_path: Path) -> None:
    write(tmp_path / "published.safetensors", published_state())
    write(tmp_path / "own names.safetensors", convolutions())
    (tmp_path / "old.pth").write_bytes(CONTENT)
    torch.save(published_state(), tmp_path / "zip.pth")
    shutil.copy(tmp_path / "zip.pth", tmp_path / "misnamed.safetensors")
    for path in sorted(tmp_path.iterdir()):
        found = places.find(tiny(), file=path)
        assert_same(found.state, convolutions())
        assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    half = {name: tensor.half() for name, tensor in published_state().items()}
    found = places.find(tiny(), file=write(tmp_path / "half.safetensors", half))
    assert_same(found.state, {name: tensor.half().float() for name, tensor in convolutions().items()})


@pytest.mark.parametrize(
    ("missing", "layers"),
    [
        ("features.5.bias", ("relu1_1", "relu1_2")),
        ("features.2.weight", ("relu1_1",)),
        ("classifier.0.weight", LAYERS),
    ],
)
def test_truncated_state_reaches_some_layers(missing: str, layers: tuple[str, ...]) -> None:
    state = published_state()
    del state[missing]
    architecture = tiny()
    assert weights.reached(architecture, architecture.convert(state)) == layers


def test_wrong_shape_is_not_reached() -> None:
    state = convolutions() | {"convolutions.relu1_2.weight": torch.zeros(4, 4, 5, 5)}
    assert weights.reached(tiny(), state) == ("relu1_1",)


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


def hostile_files(folder: Path, target: Path) -> Iterator[tuple[str, Path]]:
    def path(name: str, content: bytes) -> tuple[str, Path]:
        (folder / name).write_bytes(content)
        return name, folder / name

    yield path("plain.pth", pickle.dumps(Hostile(target)))
    for name, new in (("zip.pth", True), ("old.pth", False)):
        file = io.BytesIO()
        state = published_state() | {"x": Hostile(target)}
        torch.save(state, file, _use_new_zipfile_serialization=new)
        yield path(name, file.getvalue())
    whole = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), whole)
    yield path("module.pth", whole.getvalue())
    file = io.BytesIO()
    torch.save([torch.zeros(3)], file)
    yield path("list.pth", file.getvalue())
    yield path("empty.pth", b"")
    yield path("page.pth", b"<html>{not weights}</html>")
    yield path("half.pth", CONTENT[: len(CONTENT) // 2])
    good = safetensors.torch.save(published_state())
    yield path("half.safetensors", good[: len(good) // 2])
    yield path("length.safetensors", b"\xff" * 8 + good[8:])
    yield path("other.safetensors", safetensors.torch.save({"x": torch.zeros(3)}))
    wrong = {name: tensor[:2].contiguous() for name, tensor in published_state().items()}
    yield path("shapes.safetensors", safetensors.torch.save(wrong))
    for name, tensor in (
        ("nan", torch.full((4, 3, 3, 3), torch.nan)),
        ("integers", torch.ones(4, 3, 3, 3, dtype=torch.int64)),
    ):
        odd = published_state() | {"features.0.weight": tensor}
        yield path(f"{name}.safetensors", safetensors.torch.save(odd))
    file = io.BytesIO()
    odd = published_state() | {"features.0.weight": torch.ones(4, 3, 3, 3).to_sparse()}
    torch.save(odd, file)
    yield path("sparse.pth", file.getvalue())
    (folder / "folder.pth").mkdir()
    yield "folder.pth", folder / "folder.pth"
    yield "absent.pth", folder / "absent.pth"


def test_hostile_and_wrong_files_are_one_clear_line(tmp_path: Path) -> None:
    target = tmp_path / "executed"
    for name, path in hostile_files(tmp_path, target):
        with pytest.raises(WeightsError) as error:
            places.find(tiny(), file=path)
        assert str(path) in one_line(error), name
        assert ";" in one_line(error), f"{name} says what to do"
    assert not target.exists()
    # The trap is one: read carelessly, the file does what it was made for.
    pickle.loads((tmp_path / "plain.pth").read_bytes())
    assert target.is_dir()


# The registry


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vgg19", torchvision.models.VGG19_Weights.IMAGENET1K_V1),
        ("vgg16", torchvision.models.VGG16_Weights.IMAGENET1K_V1),
    ],
)
def test_registry_agrees_with_torchvision(name: str, published: torchvision.models.WeightsEnum) -> None:
    download = ARCHITECTURES[name].download
    assert download is not None
    assert download.url == published.url
    named = re.search(r"-([0-9a-f]{8})\.pth$", published.url)
    assert named and download.sha256 == named[1]
    assert download.size / 2**20 == pytest.approx(published.meta["_file_size"], abs=0.0006)
