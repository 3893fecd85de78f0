"""Where a network's weights are: a file that was given, the user's cache, the publisher's download, or the package.

They are looked for in that order. A download is trimmed to the tensors that the network uses; only that smaller file
stays in the cache.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import safetensors.torch
from filelock import FileLock, Timeout

from styletx.backbones import downloads, untrained
from styletx.backbones.downloads import Progress
from styletx.backbones.registry import ARCHITECTURES, Architecture, Download
from styletx.backbones.weights import Weights, reached, read
from styletx.errors import OutputError, WeightsError, field
from styletx.files import reason, shown, write
from styletx.options import is_offline

PATIENCE = 120  # seconds that another program's download may stand still
RANDOM = "random"  # given as a file, it stands for weights that were never trained; ./random is a file of that name


@dataclass(frozen=True)
class Listed:
    """What `listing` says of one network.

    Attributes:
        name: of the network.
        origin: "cache" or "bundled" if its weights are here, else None.
        path: the file, if it is here.
        size: bytes of the file that is here, else of the download.
        licence: of the weights.
        advice: how to get them, or how they came here.
    """

    name: str
    origin: str | None
    path: Path | None
    size: int
    licence: str
    advice: str


def cache_dir() -> Path:
    """The folder of downloaded weights: `STYLETX_CACHE`, else the platform's place for caches."""
    if chosen := os.environ.get("STYLETX_CACHE"):
        return Path(os.path.expanduser(chosen))
    return platformdirs.user_cache_path("styletx", appauthor=False)


def locate(architecture: Architecture) -> tuple[str, Path] | None:
    """Origin ("cache" or "bundled") and path of weights that are here without a download, if any are."""
    cached = _cached(architecture)
    if os.path.exists(cached):
        return "cache", cached
    bundled = _bundled(architecture)
    return ("bundled", bundled) if bundled else None


def listing() -> list[Listed]:
    """Every network of the registry, and where its weights are now."""
    listed = []
    for name, architecture in ARCHITECTURES.items():
        published, here = architecture.download, locate(architecture)
        origin, path = here or (None, None)
        if path is not None:
            size = path.stat().st_size
            advice = "ships with styletx" if origin == "bundled" else "in the cache"
        else:
            size = published.size if published else 0
            advice = f"styletx weights fetch {name}" if published else "cannot be downloaded"
        listed.append(Listed(name, origin, path, size, architecture.licence, advice))
    return listed


def find(
    architecture: Architecture,
    *,
    file: str | os.PathLike[str] | None = None,
    seed: int = 0,
    offline: bool | None = None,
    download: Progress | None = None,
) -> Weights:
    """Weights from the first place that has them: `file`, the cache, the download, the package.

    Args:
        architecture: the network they are for.
        file: a `.pth` state dict as it is published, or a safetensors file; no other place is looked at then.
            "random" stands for weights that were never trained.
        seed: of random weights.
        offline: never use the internet; None takes it from `STYLETX_OFFLINE`.
        download: called during a download.

    Raises:
        WeightsError: there are none, or the file found is damaged, hostile, or of another network.
        OutputError: the cache cannot be written to.
    """
    if file is not None and os.fspath(file) == RANDOM:
        return Weights(Path(RANDOM), RANDOM, "", untrained.state(architecture, seed))
    if file is not None:
        return read(architecture, file)
    cached = _cached(architecture)
    if os.path.exists(cached):
        try:
            return read(architecture, cached, "cache")
        except WeightsError as error:
            raise WeightsError(
                f"{error.args[0]}, or run `styletx weights fetch {architecture.name}` to replace it"
            ) from error
    bundled = _bundled(architecture)
    if architecture.download:
        try:
            return read(architecture, fetch(architecture, offline=offline, download=download), "download")
        except WeightsError:
            if bundled is None:
                raise
    if bundled is None:
        raise _no_download(architecture)
    return read(architecture, bundled, "bundled")


def fetch(architecture: Architecture, *, offline: bool | None = None, download: Progress | None = None) -> Path:
    """Download weights into the cache, unless they are there whole; a download that stopped earlier continues.

    Several processes may ask at once: one downloads, the others wait for it.

    Returns:
        The file in the cache, trimmed to what the network uses; the bundled file if there is no download.

    Raises:
        WeightsError: offline, no answer, or what arrived is not what was published.
        OutputError: the cache cannot be written to.
    """
    target = _cached(architecture)
    if _is_whole(architecture, target):
        return target
    published = architecture.download
    if published is None:
        if (bundled := _bundled(architecture)) is None:
            raise _no_download(architecture)
        return bundled
    if is_offline(offline):
        raise WeightsError(
            f"the weights of {architecture.name} are not on this machine, and {field('offline')} or STYLETX_OFFLINE "
            f"forbids downloading them; run `styletx weights fetch {architecture.name}` while online, or download "
            f"{published.url} elsewhere and give it as {field('weights')}, or use {field('backbone')} compact"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".part")
        with _locked(target, partial):
            if not _is_whole(architecture, target):
                downloads.download(architecture.name, published, partial, download)
                _trim(architecture, published, partial, target)
    except (OSError, OutputError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise OutputError(
            f"the cache {shown(target.parent)} cannot be written to ({reason(cause)}); "
            "make room, or set STYLETX_CACHE to another folder"
        ) from error
    return target


@contextlib.contextmanager
def _locked(target: Path, partial: Path) -> Iterator[None]:
    """Wait for other programs that download the same, as long as they get on.

    Raises:
        WeightsError: one of them does not.
    """
    lock, before = FileLock(target.with_suffix(".lock")), -1
    while True:
        try:
            lock.acquire(timeout=PATIENCE)
            break
        except Timeout:
            now = partial.stat().st_size if partial.exists() else 0
            if now == before:
                raise WeightsError(
                    f"another program has been holding {shown(lock.lock_file)} for minutes and downloads nothing; end "
                    "it, or set STYLETX_CACHE to another folder"
                ) from None
            before = now
    try:
        yield
    finally:
        lock.release()


def _trim(architecture: Architecture, published: Download, whole: Path, target: Path) -> None:
    """Write what the network uses of the download to `target`, then remove the download."""
    weights = read(architecture, whole, "download")
    if reached(architecture, weights.state) != architecture.layers:
        raise WeightsError(
            f"{published.url} does not hold all of {architecture.name}; give complete weights as {field('weights')}"
        )
    metadata = {
        "name": architecture.name,
        "url": published.url,
        "sha256": weights.sha256,
        "licence": architecture.licence,
    }
    write(target, safetensors.torch.save(weights.state, metadata))
    whole.unlink()


def _no_download(architecture: Architecture) -> WeightsError:
    return WeightsError(
        f"the weights of {architecture.name} cannot be downloaded; give a file of them as {field('weights')}"
    )


def _cached(architecture: Architecture) -> Path:
    return cache_dir() / f"{architecture.name}.safetensors"


def _bundled(architecture: Architecture) -> Path | None:
    return Path(__file__).parent / architecture.bundled if architecture.bundled else None


def _is_whole(architecture: Architecture, path: Path) -> bool:
    if not os.path.exists(path):
        return False
    try:
        weights = read(architecture, path, "cache")
    except WeightsError:
        return False
    return reached(architecture, weights.state) == architecture.layers
