"""Any source of a picture → a `Picture`: paths, bytes, streams, PIL images, arrays and tensors."""

import dataclasses
import io
import os
import stat
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import colors, files
from styletx.errors import PictureError
from styletx.files import reason, shown
from styletx.images import decoding, encoding, opening
from styletx.notes import Notes

MAX_PIXELS = 250_000_000
INSIDE = 0.25  # of the most of a region that any pixel is in, from which one is in it
FAINT = 1 / 255  # of a mask, up to which it is black
LARGEST = 2**30  # bytes of a picture that comes as a stream


@dataclass(frozen=True)
class Picture:
    """A picture as the rest of the program sees it.

    Attributes:
        pixels: [1,3,H,W] float32 sRGB in [0,1], contiguous, on the CPU. Where alpha is 0, they are spread from the
            visible pixels; the colours hidden in the file are ignored.
        alpha: [1,1,H,W] float32 in [0,1]; None if the picture is opaque.
        name: what messages and metadata call it: the path as given, or "<stdin>", "<bytes>", "<image>", ...
        bits: of the source per channel, 8 or 16 (also for floating point).
        notes: what could not be honoured when it was read, such as further frames or a broken colour profile.
        exif: what of its EXIF block holds for a picture painted from it; None if there is nothing.
        sha256: of its file; None if it came from none.
    """

    pixels: Tensor
    alpha: Tensor | None
    name: str
    bits: int
    notes: Notes = ()
    exif: bytes | None = None
    sha256: str | None = None


Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | PIL.Image.Image | npt.NDArray[Any] | Tensor | Picture


def read(source: Source, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture: upright, in sRGB, with alpha separate.

    Args:
        source: a path, a file's bytes, a binary stream, a PIL image, an array [H,W] or [H,W,1|2|3|4], a tensor
            [C,H,W] or [1,C,H,W] with 1, 3 or 4 channels (uint8, uint16, or float in [0,1]), or a `Picture`, which
            is returned unchanged.
        max_pixels: most pixels allowed; checked before anything is decoded.

    Raises:
        PictureError: it cannot be read, or is unfit for styling. Bad data raises nothing else.
        MemoryLimitError: there is too little memory to read it.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, PIL.Image.Image):
        return _picture(decoding.decode_image(source, "<image>", max_pixels), "<image>")
    if isinstance(source, np.ndarray):
        return _picture(_decode_array(source, "<array>", max_pixels), "<array>")
    if isinstance(source, Tensor):
        return _picture(_decode_tensor(source, max_pixels), "<tensor>")
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_file(io.BytesIO(source), "<bytes>", max_pixels)
    if isinstance(source, str | os.PathLike):
        name = files.local(source, PictureError)
        with _opened(name) as file:
            return _from_file(file, name, max_pixels)
    if not hasattr(source, "read"):
        raise TypeError(f"a picture is a path, bytes, a stream, an image, an array or a tensor, not {type(source)}")
    given = getattr(source, "name", None)
    name = given if isinstance(given, str) else "<stream>"
    return _from_file(_buffered(source, name), name, max_pixels)


def mask(source: Source, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """How much of each part a mask means: `[1, 1, H, W]`, 1 where it is white, 0 where it is black or transparent.

    Of a photograph that is cut out, all that is there is meant, however dark.

    Raises:
        PictureError: as `read`; or nothing is white.
    """
    picture = read(source, max_pixels=max_pixels)
    light = picture.pixels.mean(1, keepdim=True)
    if picture.alpha is not None:
        light = light * picture.alpha if colors.is_grey(picture.pixels) else picture.alpha
    if float(light.max()) <= FAINT:
        raise PictureError(
            f"{shown(picture.name)} is black all over, so it selects nothing; paint white what it should select"
        )
    return light


def visible(picture: Picture) -> Picture:
    """The smallest part of a picture, upright, that holds everything visible in it.

    Raises:
        PictureError: that is too small to style.
    """
    if picture.alpha is None:
        return picture
    there = picture.alpha[0, 0] > 0
    rows, columns = (torch.nonzero(there.any(axis)).flatten() for axis in (1, 0))
    part = (..., slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    alpha = picture.alpha[part]
    if min(alpha.shape[-2:]) < opening.MIN_SIDE:
        raise PictureError(
            f"{shown(picture.name)} shows only {alpha.shape[-1]} × {alpha.shape[-2]} pixels and is transparent "
            f"elsewhere, too small to style; use one that shows at least {opening.MIN_SIDE} pixels a side"
        )
    return dataclasses.replace(
        picture, pixels=picture.pixels[part].contiguous(), alpha=None if bool((alpha == 1).all()) else alpha
    )


def shares(alpha: Tensor | None, features: Tensor) -> Tensor | None:
    """How much of each position of a layer `[B, C, h, w]` is visible, `[1, 1, h, w]`; None if the picture is opaque.

    Likewise for any masks `[1, K, H, W]`.
    """
    if alpha is None:
        return None
    return F.adaptive_avg_pool2d(alpha, (features.shape[-2], features.shape[-1])).to(features.device)


def within(pixels: Tensor, region: Tensor | None) -> Tensor:
    """The pixels of pictures `[B, C, H, W]` that are in a region `[1, 1, H, W]`, in one row; all of them if None."""
    if region is None:
        return pixels
    return pixels[:, :, region[0, 0] >= INSIDE * region.max()].unsqueeze(2)


def check(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> None:
    """Find out from a file's header, before any long work, whether it is a picture that `read` would take.

    Raises:
        PictureError: it is not; what is wrong further down in the file shows when it is read.
    """
    name = files.local(path, PictureError)
    with _opened(name) as file:
        opening.check_size(*opening.identify(file, name, max_pixels).size, name, max_pixels)


def read_metadata(source: str | os.PathLike[str] | bytes) -> dict[str, Any]:
    """The metadata that `write` embedded in a picture, given by its path or as a file's bytes.

    Raises:
        PictureError: it is not a picture, or has no metadata of ours.
    """
    name = "<bytes>" if isinstance(source, bytes) else files.local(source, PictureError)
    with io.BytesIO(source) if isinstance(source, bytes) else _opened(name) as file:
        found = encoding.embedded(opening.identify(file, name, sys.maxsize))
    if found is None:
        raise PictureError(f"{shown(name)} has no styletx metadata; use a picture that styletx wrote, unedited")
    return found


def _opened(name: str) -> BinaryIO:
    """Open an ordinary file: reading a pipe might never end."""
    try:
        mode = os.stat(name).st_mode
        if stat.S_ISREG(mode):
            return open(name, "rb")
    except FileNotFoundError as error:
        if "://" in name:
            raise PictureError(f"{shown(name)} is a web address; download the file, and give its name") from error
        raise PictureError(f"{shown(name)}: file not found; check the name") from error
    except PermissionError as error:
        raise PictureError(
            f"{shown(name)} cannot be read (permission denied); change its permissions, or copy it"
        ) from error
    except (OSError, ValueError) as error:
        raise PictureError(f"{shown(name)} cannot be opened ({reason(error)}); check the name") from error
    if stat.S_ISDIR(mode):
        raise PictureError(f"{shown(name)} is a folder; name a picture in it")
    raise PictureError(f"{shown(name)} is not an ordinary file; save the picture to a file first")


def _buffered(stream: BinaryIO, name: str) -> BinaryIO:
    try:
        data = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise PictureError(
            f"{shown(name)} cannot be read ({reason(error)}); open it for reading, in binary mode"
        ) from error
    if not isinstance(data, bytes):
        raise PictureError(f"{shown(name)} gives text; open it in binary mode")
    if len(data) > LARGEST:
        raise PictureError(f"{shown(name)} gives more than {LARGEST >> 30} GiB; save a smaller picture to a file")
    return io.BytesIO(data)


def _decode_tensor(tensor: Tensor, max_pixels: int) -> decoding.Decoded:
    name = "<tensor>"
    is_dense = not tensor.is_nested and tensor.layout == torch.strided and not tensor.is_meta
    if not is_dense or tensor.is_quantized or tensor.is_complex():
        raise PictureError(f"{name} does not hold plain numbers; give a dense one of uint8, uint16 or float in [0,1]")
    values = tensor.detach().cpu()
    values = values[0] if values.ndim == 4 and len(values) == 1 else values
    if values.ndim != 3 or values.shape[0] not in (1, 3, 4):
        raise PictureError(f"{name} has the shape {tuple(tensor.shape)}; use [3,H,W] or [1,3,H,W]")
    values = values.float() if values.is_floating_point() else values
    return _decode_array(values.permute(1, 2, 0).numpy(), name, max_pixels)


def _decode_array(array: npt.NDArray[Any], name: str, max_pixels: int) -> decoding.Decoded:
    values = np.asarray(array)  # a matrix has two dimensions whatever one does
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[-1] not in (1, 2, 3, 4):
        raise PictureError(f"{name} has the shape {array.shape}; use [H,W] or [H,W,C] with 1 to 4 channels")
    opening.check_size(values.shape[1], values.shape[0], name, max_pixels)
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b" or (kind == "u" and size <= 2):
        peak, bits = {"b": (1, 8), "u": (2 ** (8 * size) - 1, 8 * size)}[kind]
    elif kind == "f":
        peak, bits = 1, 16
        if not (values.min() >= 0 and values.max() <= 1):  # false for NaN too
            raise PictureError(f"{name} has values outside [0,1] or NaN; scale and clip it to [0,1]")
    else:
        raise PictureError(f"{name} has the type {values.dtype}; use uint8, uint16 or float in [0,1]")
    channels = (values / np.float32(peak)).astype(np.float32)
    colour = channels[..., :-1] if channels.shape[-1] in (2, 4) else channels
    alpha = channels[..., -1] if channels.shape[-1] in (2, 4) else None
    return decoding.Decoded(np.broadcast_to(colour, (*colour.shape[:2], 3)), alpha, bits)


def _from_file(file: BinaryIO, name: str, max_pixels: int) -> Picture:
    picture = _picture(decoding.decode_stream(file, name, max_pixels), name)
    file.seek(0)
    return dataclasses.replace(picture, sha256=files.sha256_of(file))


def _picture(decoded: decoding.Decoded, name: str) -> Picture:
    pixels = torch.from_numpy(np.require(decoded.colour.transpose(2, 0, 1), requirements=["C", "W"]))[None]
    if decoded.alpha is None or bool((decoded.alpha == 1).all()):
        return Picture(pixels, None, name, decoded.bits, decoded.notes, decoded.exif)
    alpha = torch.from_numpy(np.ascontiguousarray(decoded.alpha))[None, None]
    if not alpha.any():
        raise PictureError(f"{shown(name)} is fully transparent; use a picture with something to see")
    pixels = torch.where(alpha > 0, pixels, _spread(pixels, alpha))
    return Picture(pixels, alpha, name, decoded.bits, decoded.notes, decoded.exif)


def _spread(pixels: Tensor, weight: Tensor) -> Tensor:
    """Colours [1,3,H,W] where the weight [1,1,H,W] is 0, spread smoothly from the rest (pull-push)."""
    if bool((weight > 0).all()):
        return pixels
    size = pixels.shape[-2:]
    total = F.avg_pool2d(weight, 2, ceil_mode=True)
    mean = F.avg_pool2d(pixels * weight, 2, ceil_mode=True) / total.clamp(min=1e-12)
    coarse = _spread(mean, (total * 4).clamp(max=1))
    filled = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return torch.where(weight > 0, pixels, filled)
