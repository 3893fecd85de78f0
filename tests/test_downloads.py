"""Downloading weights, from a server on this machine that misbehaves on demand."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors
from conftest import Processes
from filelock import FileLock, Timeout
from weights_files import CONTENT, Server, assert_same, convolutions, files, one_line, tiny

from styletx.backbones import downloads, places
from styletx.errors import OutputError, WeightsError

pytestmark = pytest.mark.usefixtures("online")


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


def test_a_place_that_cannot_be_written_is_one_clear_line(server: Server, cache: Path) -> None:
    (cache / "tiny.safetensors").mkdir(parents=True)
    with pytest.raises(OutputError) as error:
        places.fetch(tiny(server.url))
    assert one_line(error) == (
        f"the cache {cache} cannot be written to (it is a folder); make room, or set STYLETX_CACHE to another folder"
    )
    assert (cache / "tiny.part").exists(), "what was downloaded is kept"


FETCH = """
import sys
from functools import partial
from styletx.backbones import places, vgg
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


def test_two_processes_at_once_share_one_download(server: Server, cache: Path, processes: Processes) -> None:
    server.hold.clear()
    # The hash comes from here: pickles differ from one process to the next.
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    command = [sys.executable, "-c", FETCH, server.url, sha256, str(len(CONTENT))]
    started = [processes.start(*command, stderr=None) for _ in range(2)]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == b"asking\n"
    # One has asked, and waits for the answer; the other has time to ask too, if nothing keeps it from that.
    deadline = time.monotonic() + 20
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    server.hold.set()
    hashes = {process.communicate(timeout=300)[0].decode().strip() for process in started}
    assert [process.returncode for process in started] == [0, 0]
    assert hashes == {hashlib.sha256((cache / "tiny.safetensors").read_bytes()).hexdigest()}
    assert server.requests == [None]
    assert files(cache) == {"tiny.safetensors"}


def test_another_programs_download_that_stands_still_is_not_waited_for(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir()
    monkeypatch.setattr(places, "PATIENCE", 0.05)
    lock = FileLock(cache / "tiny.lock", thread_local=False)
    with lock, pytest.raises(WeightsError, match=r"another program has been holding .*tiny.lock for minutes"):
        places.fetch(tiny(server.url))
    # While it gets on, it is waited for.
    grown = iter(range(1, 4))
    partial = cache / "tiny.part"

    class Waiting(FileLock):
        def acquire(self, timeout: float | None = None, *_: Any, **others: Any) -> Any:  # type: ignore[override]
            if (size := next(grown, None)) is None:
                return super().acquire(timeout, **others)
            partial.write_bytes(CONTENT[:size])
            raise Timeout(self.lock_file)

    monkeypatch.setattr(places, "FileLock", Waiting)
    assert places.fetch(tiny(server.url)).exists()
