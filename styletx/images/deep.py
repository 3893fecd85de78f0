"""Colour pictures with 16 bits per channel, of which Pillow on its own keeps the upper 8.

A raw mode names the byte order of the file's values, so that Pillow's decoder can keep the upper byte of each. Naming
the opposite order makes it keep the lower byte, so two passes give all 16 bits.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float32]
Deep = npt.NDArray[np.uint16]

_BITS_PER_SAMPLE, _PHOTOMETRIC_INTERPRETATION, _PLANAR_CONFIGURATION = 258, 262, 284  # TIFF tags


def _tag(image: Image.Image, tag: int) -> Any:
    tags: Any = getattr(image, "tag_v2", {})
    return tags.get(tag)


def is_deep(image: Image.Image) -> bool:
    """Whether a picture that was opened but not yet loaded needs `load` to keep its 16 bits."""
    tiles = getattr(image, "tile", None)
    if not tiles or image.mode not in ("RGB", "RGBA", "CMYK"):
        return False
    if image.format == "PNG":
        return str(tiles[0].args).endswith(";16B")
    return image.format == "TIFF" and set(_tag(image, _BITS_PER_SAMPLE)) == {16} and not _in_compressed_planes(image)


def _in_compressed_planes(image: Any) -> bool:
    """The one kind for which libtiff's decoder takes no raw mode: it is read as 8 bits, as Pillow does."""
    return bool(_tag(image, _PLANAR_CONFIGURATION) == 2 and image.tile[0].codec_name == "libtiff")


def load(image: Image.Image, reopen: Callable[[], Image.Image]) -> tuple[Array, Array | None]:
    """Decodes colour [H,W,3] (or ink [H,W,4]) and alpha [H,W], both in [0,1].

    Args:
        image: a picture for which `is_deep` is true.
        reopen: opens the same file again, for the second pass.
    """
    tile = image.tile[0]  # type: ignore[attr-defined]
    channels = _rawmode(tile).split(";")[0]
    if channels == "LA":  # four bytes a pixel, just as in RGBA
        image.tile = [tile._replace(args="RGBA")]  # type: ignore[attr-defined]
        image.load()
        return _split(np.array(image).view(">u2"), channels, image.info)
    if image.format == "PNG":
        big_endian = True
    elif tile.codec_name == "raw":
        big_endian = image.tag_v2.prefix == b"MM"  # type: ignore[attr-defined]
    else:
        big_endian = sys.byteorder == "big"
    first = _load_byte(image, "B")
    second = _load_byte(reopen(), "L")  # opened only now, because both read from one stream
    high, low = (first, second) if big_endian else (second, first)
    values = np.bitwise_or(high << 8, low, dtype=np.uint16)
    return _split(values, channels if len(channels) > 1 else image.mode, image.info)


def _rawmode(tile: Any) -> str:
    return str(tile.args if isinstance(tile.args, str) else tile.args[0])


def _load_byte(image: Any, order: str) -> Deep:
    tiles = []
    for tile in image.tile:
        rest = () if isinstance(tile.args, str) else tile.args[1:]
        # Upper case, because Pillow would divide RGBa by an 8-bit alpha.
        rawmode = f"{_rawmode(tile).split(';')[0].upper()};16{order}"
        tiles.append(tile._replace(args=(rawmode, *rest)))
    image.tile = tiles
    image.load()
    return np.asarray(image).astype(np.uint16)


def split_grey(image: Image.Image) -> tuple[Array, Array | None]:
    """Grey [H,W,1] and alpha of a loaded picture in one of Pillow's I;16 modes, both in [0,1]."""
    peak = 4095 if _tag(image, _BITS_PER_SAMPLE) == (12,) else 65535
    grey, alpha = _split(np.asarray(image)[..., None], "I;16", image.info, peak)
    return (1 - grey if _tag(image, _PHOTOMETRIC_INTERPRETATION) == 0 else grey), alpha  # 0 stands for white


def _split(values: Deep, channels: str, info: dict[Any, Any], peak: int = 65535) -> tuple[Array, Array | None]:
    """Separate the file's values [H,W,C] into colour and alpha; `channels` is their name among Pillow's raw modes."""
    scaled = values.astype(np.float32) / np.float32(peak)
    if channels in ("LA", "RGBA"):
        return scaled[..., :-1], scaled[..., -1]
    if channels == "RGBa":
        alpha = scaled[..., 3:]
        return np.clip(scaled[..., :3] / np.maximum(alpha, 1 / peak), 0, 1), alpha[..., 0]
    key = info.get("transparency")
    if key is not None and channels in ("RGB", "I;16"):
        return scaled, np.any(values != np.asarray(key), axis=-1).astype(np.float32)
    return scaled, None
