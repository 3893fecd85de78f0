"""A batch on a Ray cluster of two nodes, one of which is lost; addresses instead of paths; files that nodes lack."""

from __future__ import annotations

import functools
import http.server
import io
import logging
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import STYLETX, Processes, painting, photo
from PIL import Image

import styletx
from styletx import files
from styletx.batches import places
from styletx.batches.manifest import Manifest, Recipe, Record
from styletx.errors import OptionError, OutputError, PictureError, WeightsError
from styletx.options import Options, defaults

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed; it comes with styletx[cluster]")
DEFAULTS = defaults(Options)
SMALL: dict[str, Any] = {"size": 32, "precision": "float32", "device": "cpu"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with twenty photographs in `photos`, a painting, and a trained network."""
    from styletx.feedforward import models
    from styletx.feedforward.networks import Layout, Transformer

    monkeypatch.chdir(tmp_path)
    Path("photos/deep").mkdir(parents=True)
    for index in range(20):
        Image.fromarray(np.roll(photo(), 3 * index, axis=1)).save(f"photos/{'deep/' if index > 15 else ''}p{index}.png")
    Image.fromarray(painting()).save("painting.png")
    torch.manual_seed(0)
    models.write(Path("net.safetensors"), Transformer(Layout(widths=(4, 8), blocks=1, kernel=3)), {"name": "net"})
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    """The address at which `folder` is served, as nodes reach it that have no common disk."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's file system in this process's memory, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


def outcome(records: list[Record]) -> Counter[str]:
    return Counter("failed" if one.error else "skipped" if one.skipped else "done" for one in records)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


# Addresses


def test_sources_and_outputs_may_be_addresses(memory: Any) -> None:
    for path in Path("photos").rglob("*.png"):
        memory.pipe_file(f"/bucket/{path}", path.read_bytes())
    memory.pipe_file("/bucket/photos/.hidden.png", b"")
    memory.pipe_file("/bucket/photos/bad.jpg", b"no picture")
    memory.pipe_file("/bucket/painting.png", Path("painting.png").read_bytes())
    local = list(styletx.batch("photos", "net.safetensors", "out", **SMALL))
    memory.pipe_file("/bucket/photos/out/net/p0.png", Path("out/net/p0.png").read_bytes())  # of an earlier batch
    remote = list(
        styletx.batch(
            "memory://bucket/photos", "net.safetensors", "memory://bucket/photos/out", **SMALL, overwrite=True
        )
    )
    assert outcome(remote) == {"done": 20, "failed": 1}
    for one in local:
        name = one.output.removeprefix("out/")
        assert (pixels(memory.cat_file(f"/bucket/photos/out/{name}")) == pixels(Path(one.output).read_bytes())).all()
    again = list(styletx.batch("memory://bucket/photos", "net.safetensors", "memory://bucket/photos/out", **SMALL))
    assert outcome(again) == {"skipped": 20, "failed": 1}
    with pytest.raises(
        OutputError, match=r"^20 of 21 results exist and were not made with these settings, such as memory://"
    ):
        styletx.batch("memory://bucket/photos", "net.safetensors", "memory://bucket/photos/out", **SMALL | {"size": 24})
    painted = list(styletx.batch("photos/p1.png", "memory://bucket/painting.png", "other", iterations=1, **SMALL))
    assert outcome(painted) == {"done": 1} and Path("other/painting/p1.png").exists()


def test_a_manifest_behind_an_address_keeps_what_was_cut_off_apart(memory: Any) -> None:
    record = Record("a.jpg", "s", "memory://out/a.png", "aa", "bb", DEFAULTS, output_sha256="cc")
    Manifest("memory://out").append(record)
    memory.pipe_file("/out/manifest.jsonl", memory.cat_file("/out/manifest.jsonl") + b'{"source": "b')
    memory.pipe_file("/out/a.png", b"")
    manifest = Manifest("memory://out")
    manifest.append(Record("c.jpg", "s", "memory://out/c.png"))
    assert [one.source for one in Manifest("memory://out").records()] == ["a.jpg", "c.jpg"]
    assert manifest.source_of("memory://out/a.png", Recipe("s", "bb", DEFAULTS)) == "aa"


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("nosuch://a/b.jpg", PictureError, r"^nosuch://a/b.jpg: file (or folder )?not found; check the "),
        ("memory://nowhere/b.jpg", PictureError, r"^memory://nowhere/b.jpg: file (or folder )?not found"),
    ],
)
def test_addresses_that_do_not_exist_are_refused(memory: Any, address: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        places.read(address)
    with pytest.raises(error, match=message):
        styletx.batch(address, "net.safetensors", "out", **SMALL)


def test_an_address_that_does_not_answer_is_told() -> None:
    pytest.importorskip("aiohttp")
    with pytest.raises(OptionError, match=r"^http://127\.0\.0\.1:1/a\.jpg cannot be reached \(.*\); check the address"):
        places.is_folder("http://127.0.0.1:1/a.jpg")


def test_paths_are_not_taken_for_addresses() -> None:
    assert places.is_url("s3://bucket/a.jpg") and places.is_url("HTTPS://a.b/c.jpg")
    chained = ["simplecache::https://a.b/c.jpg", "reference::x.json", "zip::b.jpg", "https://a.b/c::d.jpg"]
    assert not any(map(places.is_url, [*chained, "local:///a/../b.jpg", "file:///a.jpg", "dask://a"]))
    assert not any(map(places.is_url, ["a.jpg", "/a/b.jpg", "C:/a.jpg", "C:\\a.jpg", "a:b.jpg", "./x://y"]))
    assert files.local("file:///a/b%20c.jpg") == "/a/b c.jpg"


# The cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each: the cluster and its second node."""
    patch = pytest.MonkeyPatch()
    patch.setenv("STYLETX_OFFLINE", "1")
    patch.setenv("RAY_raylet_start_wait_time_s", "300")  # on a busy machine; read when Ray is imported
    ray = pytest.importorskip("ray", reason="Ray is not installed; it comes with styletx[cluster]")
    from ray.cluster_utils import Cluster

    whole = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = whole.add_node(num_cpus=1)
    whole.wait_for_nodes()
    yield whole, second
    ray.shutdown()
    whole.shutdown()
    patch.undo()


@pytest.mark.slow(reason="starts a Ray cluster and repaints 130 pictures")
def test_a_cluster_gives_what_one_machine_gives_and_a_lost_node_costs_nothing(cluster: Any, served: str) -> None:
    import ray

    whole, second = cluster
    ray.init(address=whole.address, log_to_driver=False, logging_level=logging.ERROR)
    styles = ["net.safetensors", "painting.png"]
    options: dict[str, Any] = SMALL | {"backbone": "compact", "iterations": 1}
    expected = {one.output.removeprefix("one/"): one for one in styletx.batch("photos", styles, "one", **options)}
    Path("photos/bad.png").touch()
    Path("bad.safetensors").write_bytes(b"nothing")

    with pytest.raises(WeightsError, match=r"^bad.safetensors is not a style"):
        list(styletx.batch("photos", ["net.safetensors", "bad.safetensors"], "none", executor="ray", **options))
    assert not list(Path("none").rglob("*.png"))

    records = []
    for record in styletx.batch("photos", styles, "out", executor="ray", **options):
        records.append(record)
        if len(records) == 8:
            whole.remove_node(second, allow_graceful=False)
    assert outcome(records) == {"done": 40, "failed": 2}
    assert Counter(one.output for one in records).most_common(1)[0][1] == 1
    lines = Counter(one.output for one in Manifest("out").records())
    assert len(lines) == 42 and set(lines.values()) == {1}
    for record in records:
        if record.error is None:
            one = expected[record.output.removeprefix("out/")]
            difference = pixels(Path(record.output).read_bytes()) - pixels(Path(one.output).read_bytes())
            assert np.abs(difference).max() <= 1, record.output
            assert (record.source_sha256, record.style_sha256) == (one.source_sha256, one.style_sha256)
            made = styletx.images.read_metadata(record.output)
            assert (made["content"], made["style"]) == (Path(record.source).name, record.style)
            # What was left open, such as the values of a look, the picture tells as it was settled.
            asked = {name: value for name, value in one.options.items() if value is not None}
            assert {name: made["options"][name] for name in asked} == asked

    again = list(styletx.batch("photos", styles, "out", executor="ray", **options))
    assert outcome(again) == {"skipped": 40, "failed": 2}
    # Sources that the nodes fetch themselves.
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("STYLETX_OFFLINE")
        fetched = list(styletx.batch(f"{served}/photos/deep/", "net.safetensors", "fetched", executor="ray", **SMALL))
    assert outcome(fetched) == {"done": 4}
    for record in fetched:
        same = Path("one/net/deep") / Path(record.output).name
        assert np.abs(pixels(Path(record.output).read_bytes()) - pixels(same.read_bytes())).max() <= 1


@pytest.mark.slow(reason="starts a Ray cluster")
def test_a_cluster_of_its_own_leaves_nothing_behind(processes: Processes) -> None:
    pytest.importorskip("ray", reason="Ray is not installed; it comes with styletx[cluster]")
    command = ["batch", "photos/deep", "-s", "net.safetensors", "-o", "out", "--size", "32"]
    with tempfile.TemporaryDirectory() as place:  # a short name, as Ray's sockets need
        ended = processes.finish(*STYLETX, *command, "--executor", "ray", "--workers", "1", env={"TMPDIR": place})
        assert ended.returncode == 0 and len(list(Path("out/net").rglob("*.png"))) == 4, ended.stderr
        assert os.listdir(place) == []


def test_a_node_that_lacks_a_file_uses_what_was_sent(monkeypatch: pytest.MonkeyPatch, tiny_weights: Path) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed; it comes with styletx[cluster]")
    from styletx.batches.nodes import SentLoader, needed

    Path("weights.safetensors").write_bytes(tiny_weights.read_bytes())
    options = DEFAULTS | SMALL | {"iterations": 1, "weights": "weights.safetensors", "init": "photos/p1.png"}
    recipes = [Recipe("painting.png", None, options), Recipe("net.safetensors", None, DEFAULTS | SMALL)]
    sent = needed(recipes)
    assert set(sent) == {"painting.png", "weights.safetensors", "photos/p1.png", "net.safetensors"}
    here = [styletx.load_stylizer(one.style, **one.options)("photos/p0.png") for one in recipes]
    content = Path("photos/p0.png").read_bytes()
    for name in sent:
        Path(name).unlink()
    Path("net.safetensors").write_bytes(b"another file of the same name")
    monkeypatch.setattr(ray, "get", lambda data: data)
    load = SentLoader(sent)
    for recipe, expected in zip(recipes, here, strict=True):
        result = load(recipe)(content)
        assert torch.allclose(result.pixels, expected.pixels, atol=1e-5)
        assert result.metadata["style"] == expected.metadata["style"] == recipe.style
        assert result.metadata["options"] == expected.metadata["options"]


def test_an_address_without_a_cluster_is_told() -> None:
    pytest.importorskip("ray", reason="Ray is not installed; it comes with styletx[cluster]")
    import ray

    ray.shutdown()
    with pytest.raises(
        OptionError, match=r"^address nonsense: there is no Ray cluster \(.*\); check that one is running$"
    ):
        list(styletx.batch("photos", "net.safetensors", "out", executor="ray", address="nonsense", **SMALL))


@pytest.mark.usefixtures("online")
def test_a_dead_address_costs_itself(memory: Any) -> None:
    pytest.importorskip("aiohttp")
    dead = "http://127.0.0.1:1/a.jpg"
    records = list(styletx.batch(["photos", dead], "net.safetensors", "out", **SMALL))
    (failed,) = [record for record in records if record.error]
    assert failed.source == dead and failed.error is not None and "cannot be reached" in failed.error
    assert len(records) > 1
    with pytest.raises(OptionError, match="cannot be reached"):
        styletx.batch(dead, "net.safetensors", "out", **SMALL)


@pytest.mark.parametrize("place", ["source", "list", "style", "output", "variable"])
def test_offline_opens_no_address(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_remote", lambda url: pytest.fail(f"{url} is opened"))
    Path("list.txt").write_text("https://a.b/c.jpg\n")
    given = {"source": "photos", "style": "net.safetensors", "output": "out"}
    address = "@list.txt" if place == "list" else "https://a.b/c.jpg"
    given["source" if place in ("list", "variable") else place] = address
    if place == "variable":
        monkeypatch.setenv("STYLETX_OFFLINE", "1")
    with pytest.raises(OptionError, match=r"^https://a\.b/c\.jpg is in a network, which offline or STYLETX_OFFLINE"):
        styletx.batch(given["source"], given["style"], given["output"], **SMALL, offline=place != "variable")
