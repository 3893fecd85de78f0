"""ICC colour profiles: device colours → sRGB, and the sRGB profile that is written into results.

Almost every profile of an RGB or grey picture is a curve per channel and a 3×3 matrix. Those are evaluated here in
floating point, because Pillow's binding to littlecms handles 8 bits only and would degrade 16-bit pictures. Everything
else (CMYK, lookup tables) goes through littlecms.
"""

import functools
import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Array = npt.NDArray[np.float32]

# Linear sRGB from D50 XYZ (ICC's connection space): the inverse of the sRGB primaries, adapted to D50.
_SRGB_FROM_XYZ = np.linalg.inv(
    np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
)
_D50 = np.array([0.9642, 1.0, 0.8249])
_ROWS_AT_ONCE = 256
_CURVE_POINTS = 65536
_SPACES = {b"GRAY": ("L", 1), b"RGB ": ("RGB", 3), b"CMYK": ("CMYK", 4)}


class ProfileError(ValueError):
    """A profile that is broken, or is for another kind of picture than the one it is embedded in."""


@functools.cache
def srgb_profile() -> bytes:
    """The sRGB profile as bytes, the same at every call and on every day."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # littlecms writes the time of the call here
    profile[84:100] = bytes(16)  # the checksum, which includes that time; zero means "not computed"
    return bytes(profile)


def to_srgb(values: Array, profile: bytes) -> Array:
    """Converts device colours to sRGB: relative colorimetric, with black point compensation.

    Args:
        values: [H,W,C] in [0,1]; C is 1 (grey), 3 (RGB) or 4 (CMYK, 1 is full ink).
        profile: the ICC profile's bytes. A grey picture may have an RGB profile.

    Returns:
        [H,W,3] in [0,1]; for an sRGB profile `values` unchanged, repeated to three channels.

    Raises:
        ProfileError: the profile is broken or is for another kind of picture.
    """
    mode, channels = _SPACES.get(profile[16:20], ("", 0))
    if values.shape[-1] == 1 and channels == 3:
        values = np.repeat(values, 3, axis=-1)
    if not channels or values.shape[-1] != channels:
        raise ProfileError("the colour profile is for another kind of picture")
    try:
        tags = _tags(profile)
        if channels < 4 and b"A2B0" not in tags and profile[20:24] == b"XYZ ":
            return _by_matrix(values, tags)
        return _by_littlecms(values, profile, mode)
    except (struct.error, KeyError, ValueError, OSError, ImageCms.PyCMSError) as error:
        raise ProfileError("the colour profile is broken") from error


def _by_littlecms(values: Array, profile: bytes, mode: str) -> Array:
    height, width, _ = values.shape
    device = Image.frombytes(mode, (width, height), np.rint(values * 255).astype(np.uint8).tobytes())
    converted = ImageCms.profileToProfile(
        device,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if converted is None:
        raise ProfileError("the colour profile is broken")
    return np.asarray(converted, dtype=np.float32) / np.float32(255)


def _by_matrix(values: Array, tags: dict[bytes, bytes]) -> Array:
    if values.shape[-1] == 1:
        curves = [_curve(tags[b"kTRC"])]
        matrix = _SRGB_FROM_XYZ @ _D50[:, None]
    else:
        curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
        matrix = _SRGB_FROM_XYZ @ np.stack([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)

    from_linear = matrix.T.astype(np.float32)

    def convert(block: Array) -> Array:
        steps = np.rint(block * (_CURVE_POINTS - 1)).astype(np.int32)
        linear = np.stack([curve[steps[..., i]] for i, curve in enumerate(curves)], axis=-1)
        return _srgb_encoded(np.clip(linear @ from_linear, 0, 1))

    # Vendors' sRGB profiles differ in the fourth digit; converting between those would only add noise.
    axes = np.meshgrid(*[np.linspace(0, 1, 18, dtype=np.float32)] * len(curves), indexing="ij")
    probe = np.stack(axes, axis=-1)
    if np.abs(convert(probe) - probe).max() < 1 / 255:
        return np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values
    result = np.empty((*values.shape[:2], 3), np.float32)
    for top in range(0, len(values), _ROWS_AT_ONCE):
        result[top : top + _ROWS_AT_ONCE] = convert(values[top : top + _ROWS_AT_ONCE])
    return result


def _srgb_encoded(linear: Array) -> Array:
    power = np.float32(1.055) * linear ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(linear <= 0.0031308, np.float32(12.92) * linear, power)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    if count > 1000 or profile[36:40] != b"acsp":
        raise ProfileError("the colour profile is broken")
    entries = (struct.unpack_from(">4sII", profile, 132 + 12 * i) for i in range(count))
    return {name: profile[offset : offset + size] for name, offset, size in entries}


def _xyz(tag: bytes) -> npt.NDArray[np.float64]:
    if tag[:4] != b"XYZ ":
        raise ProfileError("the colour profile is broken")
    return np.array(struct.unpack_from(">3i", tag, 8)) / 65536


def _curve(tag: bytes) -> Array:
    """A tone curve, device value → linear light, as a table with an entry for every 8- and 16-bit value."""
    x = np.linspace(0, 1, _CURVE_POINTS)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        points = np.array(struct.unpack_from(f">{count}H", tag, 12))
        if count == 0:
            linear = x
        elif count == 1:
            linear = x ** (points[0] / 256)
        else:
            linear = np.interp(x, np.linspace(0, 1, count), points / 65535)
    elif tag[:4] == b"para":
        linear = _formula(tag, x)
    else:
        raise ProfileError("the colour profile is broken")
    return np.clip(linear, 0, 1).astype(np.float32)


def _formula(tag: bytes, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """ICC's five parametric curves, all special cases of (a·x + b)^g + e from d upwards and c·x + f below."""
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind > 4:
        raise ProfileError("the colour profile is broken")
    count = (1, 3, 4, 5, 7)[kind]
    p = [value / 65536 for value in struct.unpack_from(f">{count}i", tag, 12)]
    g, a, b, c, d, e, f = p[0], 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if kind > 0:
        a, b = p[1:3]
    if kind in (1, 2):
        d = -b / a if a else 0.0
        e = f = p[3] if kind == 2 else 0.0
    elif kind > 2:
        c, d = p[3:5]
        e, f = p[5:7] if kind == 4 else (0.0, 0.0)
    with np.errstate(all="ignore"):
        linear = np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
    return np.nan_to_num(linear)
