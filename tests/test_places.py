"""Where weights are looked for: a file, the cache, the download, the package."""

from __future__ import annotations

from pathlib import Path

import pytest
from weights_files import LAYERS, Server, assert_same, convolutions, one_line, published_state, tiny, write

from styletx.backbones import places, weights
from styletx.backbones.registry import ARCHITECTURES
from styletx.errors import WeightsError

pytestmark = pytest.mark.usefixtures("online")


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


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert places.cache_dir() == cache
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
