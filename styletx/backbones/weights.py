"""Trained weights: a file that was given, the user's cache, the publisher's download, or what is bundled.

They are looked for in that order. A download is resumed where it broke off, checked against its published
hash, and trimmed to the tensors that the network uses; only that smaller file stays in the cache.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs
import safetensors.torch
import torch
from filelock import FileLock
from torch import Tensor

from styletx._version import __version__
from styletx.backbones import untrained
from styletx.backbones.registry import ARCHITECTURES, Architecture, Download
from styletx.errors import OutputError, WeightsError

Progress = Callable[[int, int], None]
"""Called with the bytes that have arrived, and the bytes in all."""

TIMEOUT = 30.0  # seconds that a server may be silent
FAILURES = 4  # attempts in a row that bring nothing new, before giving up
PAUSE = 1.0  # seconds before the first new attempt; doubles each time
CHUNK = 1 << 18  # bytes
RANDOM = "random"  # given as a file, it stands for weights that were never trained; ./random is a file of that name
BY_HAND = "download that file elsewhere and give it with --weights FILE"


@dataclass(frozen=True)
class Source:
    """Where weights came from.

    Attributes:
        path: the file; "random" if there is none.
        origin: "file", "cache", "download", "bundled" or "random".
        sha256: of the file's content, in hex; empty if there is none.
    """

    path: Path
    origin: str
    sha256: str


@dataclass(frozen=True)
class Weights(Source):
    """Weights that were found.

    Attributes:
        state: float32 tensors under the module's own names; a truncated file has only the shallow ones.
    """

    state: dict[str, Tensor]


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


class _BrokenOffError(Exception):
    """The connection broke off; what had arrived is kept."""


def cache_dir() -> Path:
    """The folder of downloaded weights: `STYLETX_CACHE`, else the platform's place for caches."""
    if chosen := os.environ.get("STYLETX_CACHE"):
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("styletx", appauthor=False)


def locate(architecture: Architecture) -> tuple[str, Path] | None:
    """Origin ("cache" or "bundled") and path of weights that are here without a download, if any are."""
    cached = _cached(architecture)
    if cached.exists():
        return "cache", cached
    bundled = _bundled(architecture)
    return ("bundled", bundled) if bundled else None


def find(
    architecture: Architecture,
    *,
    file: str | os.PathLike[str] | None = None,
    seed: int = 0,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Weights:
    """Weights from the first place that has them: `file`, the cache, the download, the bundle.

    Args:
        architecture: the network they are for.
        file: a `.pth` state dict as published, or safetensors; nothing else is looked at then. "random" stands
            for weights that were never trained.
        seed: of random weights.
        offline: never touch the network; None takes it from `STYLETX_OFFLINE`.
        progress: called during a download.

    Raises:
        WeightsError: there are none, or the file found is damaged, hostile, or of another network.
        OutputError: the cache cannot be written to.
    """
    if file is not None and os.fspath(file) == RANDOM:
        warnings.warn(
            f"THE WEIGHTS ARE RANDOM: {architecture.name} (seed {seed}) has learnt nothing, so what it sees shows its "
            "architecture alone; leave out --weights random for a trained network.",
            stacklevel=2,
        )
        return Weights(Path(RANDOM), RANDOM, "", untrained.state(architecture, seed))
    if file is not None:
        return _read(architecture, Path(file), "file")
    cached = _cached(architecture)
    if cached.exists():
        try:
            return _read(architecture, cached, "cache")
        except WeightsError as error:
            raise WeightsError(f"{error} `styletx weights fetch {architecture.name}` replaces it.") from error
    bundled = _bundled(architecture)
    if architecture.download:
        try:
            return _read(architecture, fetch(architecture, offline=offline, progress=progress), "download")
        except WeightsError:
            if bundled is None:
                raise
    if bundled is None:
        raise WeightsError(f"{architecture.name} has no download; give its weights with --weights FILE.")
    return _read(architecture, bundled, "bundled")


def fetch(architecture: Architecture, *, offline: bool | None = None, progress: Progress | None = None) -> Path:
    """Download weights into the cache, unless they are there whole; one that broke off earlier goes on.

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
    download = architecture.download
    if download is None:
        bundled = _bundled(architecture)
        if bundled is None:
            raise WeightsError(f"{architecture.name} has no download; give its weights with --weights FILE.")
        return bundled
    if _is_offline(offline):
        raise WeightsError(
            f"the weights of {architecture.name} are not here, and --offline or STYLETX_OFFLINE forbids to "
            f"download them; run `styletx weights fetch {architecture.name}` once with a network, or "
            f"download {download.url} elsewhere and give it with --weights FILE."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not _is_whole(architecture, target):
                partial = target.with_suffix(".part")
                _download(architecture.name, download, partial, progress)
                _trim(architecture, download, partial, target)
    except OSError as error:
        raise OutputError(
            f"cannot write to the cache {target.parent} ({error.strerror or error}); "
            "make room or name another folder with STYLETX_CACHE."
        ) from error
    return target


def listing() -> list[Listed]:
    """Every network of the registry, and where its weights are now."""
    listed = []
    for name, architecture in ARCHITECTURES.items():
        download, here = architecture.download, locate(architecture)
        origin, path = here or (None, None)
        if path is not None:
            size = path.stat().st_size
            advice = "ships with styletx" if origin == "bundled" else "in the cache"
        else:
            size = download.size if download else 0
            advice = f"styletx weights fetch {name}" if download else "--weights FILE"
        listed.append(Listed(name, origin, path, size, architecture.licence, advice))
    return listed


def reached(architecture: Architecture, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The layers, from the picture down, for which `state` holds every tensor, in the right shape."""
    shapes = {name: tensor.shape for name, tensor in state.items()}
    return tuple(layer for layer, needs in _needs(architecture).items() if needs.items() <= shapes.items())


@cache
def _needs(architecture: Architecture) -> dict[str, dict[str, torch.Size]]:
    """Layer to the names and shapes of the tensors it needs."""
    needs = {}
    for layer in architecture.layers:
        with torch.device("meta"):
            module = architecture.build([layer])
        needs[layer] = {name: tensor.shape for name, tensor in module.state_dict().items()}
    return needs


def _cached(architecture: Architecture) -> Path:
    return cache_dir() / f"{architecture.name}.safetensors"


def _bundled(architecture: Architecture) -> Path | None:
    return Path(__file__).parent / architecture.bundled if architecture.bundled else None


def _is_offline(offline: bool | None) -> bool:
    if offline is not None:
        return offline
    return os.environ.get("STYLETX_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def _is_whole(architecture: Architecture, path: Path) -> bool:
    if not path.exists():
        return False
    try:
        weights = _read(architecture, path, "cache")
    except WeightsError:
        return False
    return reached(architecture, weights.state) == architecture.layers


def _read(architecture: Architecture, path: Path, origin: str) -> Weights:
    """The file's tensors that fit the network.

    Raises:
        WeightsError: it cannot be read safely, or nothing in it fits.
    """
    try:
        sha256 = _sha256(path)
        published = _tensors(path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such weights file; check the path.") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error}); give a weights file.") from error
    shapes = {name: shape for needs in _needs(architecture).values() for name, shape in needs.items()}
    # Our own cache holds the module's names, which a published file never has.
    for names in (architecture.convert(published), published):
        fitting = {name: tensor for name, tensor in names.items() if shapes.get(name) == tensor.shape}
        state = {name: _float32(path, name, tensor) for name, tensor in fitting.items()}
        if reached(architecture, state):
            return Weights(path, origin, sha256, state)
    raise WeightsError(
        f"{path}: holds no weights of {architecture.name}; give a file that does, or another --backbone."
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or a pickled state dict, told apart by content; no code in it is run."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            if file.read(9)[8:] == b"{":
                return safetensors.torch.load_file(path)
            file.seek(0)
            warnings.simplefilter("ignore")
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile file can make a parser raise anything
        raise WeightsError(
            f"{path}: is damaged, or holds more than tensors; give a .pth state dict or a safetensors file."
        ) from error
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path}: holds a {type(loaded).__name__}, no state dict; save `model.state_dict()`.")
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}


def _float32(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_meta or not tensor.is_floating_point():
        raise WeightsError(f"{path}: {name} holds no plain numbers; give the network's weights as they are published.")
    tensor = tensor.detach().to(torch.float32).contiguous()
    if not tensor.isfinite().all():
        raise WeightsError(f"{path}: {name} holds NaN or infinity; give a sound copy of the file.")
    return tensor


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _trim(architecture: Architecture, download: Download, whole: Path, target: Path) -> None:
    """Write what the network uses of the download to `target`, then remove the download."""
    weights = _read(architecture, whole, "download")
    if reached(architecture, weights.state) != architecture.layers:
        raise WeightsError(f"{download.url}: is not the whole of {architecture.name}; give a file with --weights FILE.")
    beside = target.with_suffix(".tmp")
    metadata = {
        "name": architecture.name,
        "url": download.url,
        "sha256": weights.sha256,
        "licence": architecture.licence,
    }
    try:
        beside.write_bytes(safetensors.torch.save(weights.state, metadata))
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    whole.unlink()


def _download(name: str, download: Download, partial: Path, progress: Progress | None) -> None:
    """Complete `partial`, and check its hash."""
    began_empty = _size(partial) == 0
    _complete(name, download, partial, progress)
    found = _sha256(partial)
    if found.startswith(download.sha256):
        return
    partial.unlink()
    if not began_empty:
        # What was left from another day may have been part of another file.
        return _download(name, download, partial, progress)
    raise WeightsError(
        f"{download.url}: what arrived is not what was published (its SHA-256 is {found[:8]}…, not "
        f"{download.sha256}…) and was removed; try again on another network, or {BY_HAND}."
    )


def _complete(name: str, download: Download, partial: Path, progress: Progress | None) -> None:
    """Receive until `partial` has its full size, with new attempts when the connection breaks off."""
    if download.tolerance:
        download = _measured(download)
    missing = download.size - _size(partial)
    if missing > shutil.disk_usage(partial.parent).free:
        raise OutputError(
            f"{partial.parent}: has no room for a download of {missing / 1e6:.0f} MB; "
            "make room or name another folder with STYLETX_CACHE."
        )
    furthest, failures = _size(partial), 0
    while _size(partial) < download.size:
        try:
            _receive(download, partial, progress)
        except _BrokenOffError as error:
            failures = 0 if _size(partial) > furthest else failures + 1
            furthest = max(furthest, _size(partial))
            if failures == FAILURES:
                arrived, size = _size(partial) / 1e6, download.size / 1e6
                raise WeightsError(
                    f"{download.url}: broke off at {arrived:.0f} of {size:.0f} MB "
                    f"({error}); `styletx weights fetch {name}` goes on from there, or {BY_HAND}."
                ) from error
            time.sleep(PAUSE * 2**failures)


def _measured(download: Download) -> Download:
    """The download with its size to the byte, as the server tells it."""
    request = urllib.request.Request(download.url, headers={"User-Agent": f"styletx/{__version__}"}, method="HEAD")
    try:
        with _open(download, request) as response:
            size = int(response.headers["Content-Length"] or 0)
    except _BrokenOffError as error:
        raise WeightsError(f"{download.url}: cannot be downloaded ({error}); try again later, or {BY_HAND}.") from error
    if abs(size - download.size) > download.tolerance:
        raise WeightsError(
            f"{download.url}: the server offers {size} bytes where about {download.size} are published (a "
            f"network's log-in page?); {BY_HAND}."
        )
    return dataclasses.replace(download, size=size, tolerance=0)


def _receive(download: Download, partial: Path, progress: Progress | None) -> None:
    """One request: the rest of the file if the server can, else all of it."""
    arrived = _size(partial)
    headers = {"User-Agent": f"styletx/{__version__}"}
    if arrived:
        headers["Range"] = f"bytes={arrived}-"
    with _open(download, urllib.request.Request(download.url, headers=headers)) as response:
        resumes = response.status == 206 and (response.headers["Content-Range"] or "").startswith(f"bytes {arrived}-")
        if response.status == 206 and not resumes:
            partial.unlink(missing_ok=True)
            raise _BrokenOffError("the server sent another part of the file than asked for")
        arrived = arrived if resumes else 0
        if response.length is not None and arrived + response.length != download.size:
            raise WeightsError(
                f"{download.url}: the server offers {arrived + response.length} bytes where "
                f"{download.size} are published (a network's log-in page?); {BY_HAND}."
            )
        with partial.open("ab" if resumes else "wb") as file:
            while arrived <= download.size:
                if progress:
                    progress(arrived, download.size)
                try:
                    chunk = response.read(CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise _BrokenOffError(str(error) or type(error).__name__) from error
                if not chunk:
                    break
                file.write(chunk)
                arrived += len(chunk)
    if arrived < download.size:
        raise _BrokenOffError("the connection was closed")


def _open(download: Download, request: urllib.request.Request) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
        return response
    except urllib.error.HTTPError as error:
        reason = f"HTTP {error.code} {error.reason}"
        if error.code >= 500:
            raise _BrokenOffError(reason) from error
    except urllib.error.URLError as error:
        reason = str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from error
    raise WeightsError(f"{download.url}: cannot be downloaded ({reason}); check the network, or {BY_HAND}.")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
