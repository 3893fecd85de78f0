"""Picture files and colour profiles made from their specifications alone, for the tests of `styletx.images`."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from styletx import images
from styletx.errors import PictureError

FULL = 65535
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def random_values(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def hwc(tensor):
    return tensor[0].permute(1, 2, 0).numpy()


def alpha_of(picture):
    """Alpha as [H,W]."""
    return picture.alpha[0, 0]


def noted(picture):
    return [str(note) for note in picture.notes]


def encoded(image, format, **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png16(values, *, interlaced=False, chunks=b""):
    """A 16-bit PNG from the specification alone: no filter, optionally the seven passes of Adam7."""
    height, width, channels = values.shape
    starts = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    passes = [values[y::dy, x::dx] for y, x, dy, dx in starts] if interlaced else [values]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in passes for row in part if row.size)
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunks
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def icc(tags, space=b"RGB ", connection=b"XYZ ", kind=b"mntr"):
    header = bytearray(128)
    header[8:12] = b"\x02\x40\0\0"
    header[12:24] = kind + space + connection
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", 63190, 65536, 54061)  # D50
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += struct.pack(">4sII", name, offset + len(body), len(data))
        body += data
    header[0:4] = struct.pack(">I", offset + len(body))
    return bytes(header) + struct.pack(">I", len(tags)) + table + body


def fixed(*values):
    return struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))


def gamma(value):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def parametric(kind, *values):
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + fixed(*values)


SRGB_PRIMARIES = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


ADOBE_PRIMARIES = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def matrix_profile(primaries, curve):
    tags = {n: b"XYZ \0\0\0\0" + fixed(*xyz) for n, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return icc(tags)


def srgb_encode(linear):
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def lab_table_profile(space, corners):
    """A profile of one lookup table: two points an axis, whose Lab values `corners` gives in order."""
    inputs = len(space.strip())
    lab = np.asarray(corners, dtype=float).reshape(2**inputs, 3)
    entries = np.rint(np.stack([lab[:, 0] * 652.8, (lab[:, 1] + 128) * 256, (lab[:, 2] + 128) * 256], axis=1))
    ramp = struct.pack(">2H", 0, FULL)
    data = (
        b"mft2\0\0\0\0"
        + bytes([inputs, 3, 2, 0])
        + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
        + struct.pack(">2H", 2, 2)
        + ramp * inputs
        + entries.astype(">u2").tobytes()
        + ramp * 3
    )
    return icc({b"A2B0": data}, space, b"Lab ", b"scnr" if inputs == 3 else b"prtr")


def refused(path, *, match, **options):
    with pytest.raises(PictureError, match=match) as caught:
        images.read(path, **options)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and ";" in message and not message.endswith(".")


SRGB_FORMULA = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


CURVES = {
    "gamma": gamma(563 / 256),
    "identity": b"curv\0\0\0\0" + struct.pack(">I", 0),
    "table": b"curv\0\0\0\0"
    + struct.pack(">I1024H", 1024, *np.rint(np.linspace(0, 1, 1024) ** 1.8 * FULL).astype(int)),
    "power": parametric(0, 2.2),
    "offset": parametric(1, 2.2, 0.9, 0.1),
    "lifted": parametric(2, 2.0, 0.8, 0.1, 0.05),
    "segment": SRGB_FORMULA,
    "full": parametric(4, 2.4, 0.9, 0.05, 0.07, 0.05, 0.02, 0.001),
}
