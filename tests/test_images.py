import io
import os
import stat
import struct
import tempfile
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage.color
import tifffile
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from styletx import images
from styletx.errors import OutputError, PictureError, StyletxError
from styletx.images.profiles import to_srgb

FULL = 65535
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def unprivileged():
    """Permissions mean nothing to root, so tests of them run as nobody, in a folder that nobody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)


def random_values(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def hwc(tensor):
    return tensor[0].permute(1, 2, 0).numpy()


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


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM"])
def test_eight_bit_values_come_in_exactly(format):
    values = random_values(20, 30, 3)
    picture = images.read(encoded(Image.fromarray(values), format))
    assert picture.pixels.shape == (1, 3, 20, 30)
    assert picture.pixels.dtype == torch.float32 and picture.pixels.is_contiguous()
    assert picture.alpha is None and picture.bits == 8
    np.testing.assert_allclose(hwc(picture.pixels), values / 255, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("interlaced", [False, True])
def test_sixteen_bit_png_keeps_every_bit(channels, interlaced):
    values = random_values(21, 19, channels, dtype=np.uint16)
    values[..., -1] |= 1 if channels in (2, 4) else 0  # alpha 0 would replace the colour
    picture = images.read(png16(values, interlaced=interlaced))
    colour = values[..., :-1] if channels in (2, 4) else values
    assert picture.bits == 16
    np.testing.assert_allclose(hwc(picture.pixels) * FULL, np.broadcast_to(colour, (21, 19, 3)), atol=0.01)
    if channels in (2, 4):
        np.testing.assert_allclose(picture.alpha[0, 0] * FULL, values[..., -1], atol=0.01)


TIFF_LAYOUTS = [
    {},
    {"compression": "zlib", "predictor": True},
    {"tile": (16, 16)},
    {"tile": (16, 16), "compression": "zlib"},
    {"rowsperstrip": 5},
    {"byteorder": ">"},
    {"byteorder": ">", "compression": "zlib"},
    {"planarconfig": "separate"},
    {"planarconfig": "separate", "byteorder": ">"},
]


@pytest.mark.parametrize("layout", TIFF_LAYOUTS, ids=str)
@pytest.mark.parametrize("extra", [None, "unassalpha", "assocalpha"])
def test_sixteen_bit_tiff_keeps_every_bit(layout, extra):
    values = random_values(32, 48, 4 if extra else 3, dtype=np.uint16)
    expected = values[..., :3].astype(float)
    if extra:
        values[..., 3] |= 0x8000
    if extra == "assocalpha":
        values[..., :3] = np.minimum(values[..., :3], values[..., 3:])
        expected = values[..., :3] / values[..., 3:] * FULL
    if extra == "assocalpha" and "planarconfig" in layout:
        pytest.skip("Pillow reads no premultiplied planes")
    stream = io.BytesIO()
    stored = np.moveaxis(values, -1, 0) if "planarconfig" in layout else values
    options = {"extrasamples": [extra]} if extra else {}
    tifffile.imwrite(stream, stored, photometric="rgb", **layout, **options)
    picture = images.read(stream.getvalue())
    assert picture.bits == 16
    np.testing.assert_allclose(hwc(picture.pixels) * FULL, expected, atol=0.02)
    if extra:
        np.testing.assert_allclose(picture.alpha[0, 0] * FULL, values[..., 3], atol=0.01)


def test_sixteen_bit_planes_that_are_compressed_are_read_as_eight_bit():
    values = random_values(3, 32, 48, dtype=np.uint16)
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric="rgb", planarconfig="separate", compression="zlib")
    picture = images.read(stream.getvalue())
    assert picture.bits == 8
    np.testing.assert_allclose(picture.pixels[0], values / FULL, atol=1 / 255)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_sixteen_bit_grey_tiff(photometric, byteorder):
    values = random_values(20, 30, dtype=np.uint16)
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric=photometric, byteorder=byteorder)
    if photometric == "miniswhite" and byteorder == ">":
        pytest.skip("Pillow reads no such files")
    expected = values if photometric == "minisblack" else FULL - values.astype(int)
    picture = images.read(stream.getvalue())
    assert picture.bits == 16
    np.testing.assert_allclose(picture.pixels[0, 1] * FULL, expected, atol=0.01)


def test_sixteen_bit_cmyk_tiff():
    values = random_values(20, 30, 4, dtype=np.uint16)
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric="separated")
    ink = values / FULL
    picture = images.read(stream.getvalue())
    np.testing.assert_allclose(hwc(picture.pixels), (1 - ink[..., :3]) * (1 - ink[..., 3:]), atol=1e-5)


def test_a_transparent_colour_of_sixteen_bits_is_met_exactly():
    values = np.full((20, 20, 3), 1000, np.uint16)
    values[5, 5] = 2001  # differs from the key in the lower byte alone
    values[6, 6] = 2000
    picture = images.read(png16(values, chunks=chunk(b"tRNS", struct.pack(">3H", 2000, 2000, 2000))))
    assert picture.alpha[0, 0, 6, 6] == 0
    assert picture.alpha.sum() == 20 * 20 - 1


def test_integer_and_float_greys():
    ramp = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    for scale in (1, 255):
        picture = images.read(encoded(Image.fromarray(ramp * scale), "TIFF"))
        np.testing.assert_allclose(picture.pixels[0, 0], ramp, atol=1e-6)
    integers = np.rint(ramp * FULL).astype(np.int32)
    np.testing.assert_allclose(images.read(Image.fromarray(integers)).pixels[0, 2], ramp, atol=1e-5)
    with pytest.warns(UserWarning, match="ranges from -1 to 3"):
        picture = images.read(Image.fromarray(ramp * 4 - 1))
    np.testing.assert_allclose(picture.pixels[0, 0], ramp, atol=1e-6)
    ramp[3, 3] = np.nan
    with pytest.raises(PictureError, match="not finite"):
        images.read(encoded(Image.fromarray(ramp), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_rotation_is_honoured(format, orientation):
    image = Image.fromarray(random_values(20, 30, 3)).resize((32, 24), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    plain = Image.open(io.BytesIO(encoded(image, "JPEG") if format == "JPEG" else encoded(image, "PNG")))
    tagged = Image.Exif()
    tagged[0x0112] = orientation
    plain.getexif().update(tagged)
    expected = np.asarray(ImageOps.exif_transpose(plain)) / 255
    np.testing.assert_allclose(hwc(images.read(data).pixels), expected, atol=1e-6)
    np.testing.assert_allclose(hwc(images.read(Image.open(io.BytesIO(data))).pixels), expected, atol=1e-6)


def test_rotation_of_sixteen_bits_with_alpha():
    values = random_values(20, 30, 4, dtype=np.uint16) | 1
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    picture = images.read(png16(values, chunks=chunk(b"eXIf", exif.tobytes()[6:])))
    turned = np.rot90(values, -1)
    np.testing.assert_allclose(hwc(picture.pixels) * FULL, turned[..., :3], atol=0.01)
    np.testing.assert_allclose(picture.alpha[0, 0] * FULL, turned[..., 3], atol=0.01)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_no_harm():
    data = encoded(Image.new("RGB", (20, 20), "red"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert images.read(data).pixels[0, 0].mean() > 0.98


def test_grey_palette_ink_and_other_modes():
    image = Image.fromarray(random_values(20, 30, 3))
    for mode in ("1", "L", "P", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"):
        converted = image.convert(mode)
        expected = np.asarray(converted.convert("RGB")) / 255
        np.testing.assert_allclose(hwc(images.read(converted).pixels), expected, atol=1 / 255, err_msg=mode)
    ink = images.read(encoded(image.convert("CMYK"), "JPEG", quality=100, subsampling=0))
    assert np.abs(hwc(ink.pixels) - np.asarray(image) / 255).mean() < 0.02


def test_alpha_comes_in_from_every_kind_of_transparency():
    rgba = Image.fromarray(random_values(20, 30, 4) | 1)
    with_palette = rgba.convert("RGB").quantize(16)
    with_palette.putalpha(rgba.getchannel("A"))
    made = {"La": rgba.convert("LA").convert("La"), "PA": with_palette}
    for mode in ("RGBA", "LA", "La", "RGBa", "PA"):
        image = made.get(mode) or rgba.convert(mode)
        assert image.mode == mode
        picture = images.read(image)
        plain = image.convert("LA") if mode == "La" else image
        expected = np.asarray(plain.convert("RGBA")) / 255
        np.testing.assert_allclose(picture.alpha[0, 0], expected[..., 3], atol=1e-6, err_msg=mode)
        np.testing.assert_allclose(hwc(picture.pixels), expected[..., :3], atol=1e-6, err_msg=mode)
    palette = Image.fromarray(random_values(20, 30, 3)).quantize(8)
    for format in ("PNG", "GIF"):
        picture = images.read(encoded(palette, format, transparency=3))
        np.testing.assert_array_equal(picture.alpha[0, 0] == 0, np.asarray(palette) == 3)
    grey = Image.fromarray(random_values(20, 30) // 64)
    picture = images.read(encoded(grey, "PNG", transparency=2))
    np.testing.assert_array_equal(picture.alpha[0, 0] == 0, np.asarray(grey) == 2)


def test_an_opaque_alpha_channel_is_none():
    assert images.read(Image.new("RGBA", (20, 20), (1, 2, 3, 255))).alpha is None


def test_hidden_colours_do_not_bleed():
    values = np.zeros((40, 56, 4), np.uint8)
    values[...] = (0, 255, 0, 0)
    values[10:30, 8:20] = (200, 100, 50, 255)
    picture = images.read(values)
    np.testing.assert_allclose(
        hwc(picture.pixels), np.broadcast_to(np.array([200, 100, 50]) / 255, (40, 56, 3)), atol=1e-6
    )
    assert picture.alpha.sum() == 20 * 12


def test_spread_colours_are_nearby_ones_and_partial_pixels_keep_theirs():
    values = np.zeros((64, 17, 4), np.uint8)
    values[:8] = (255, 0, 0, 255)
    values[-8:] = (0, 0, 255, 255)
    values[8] = (9, 8, 7, 1)
    pixels = hwc(images.read(values).pixels)
    np.testing.assert_allclose(pixels[8], np.broadcast_to(np.array([9, 8, 7]) / 255, (17, 3)), atol=1e-6)
    assert (pixels[9:20, :, 0] > pixels[9:20, :, 2]).all()
    assert (pixels[-20:-8, :, 0] < pixels[-20:-8, :, 2]).all()
    assert pixels.min() >= 0 and pixels.max() <= 1
    assert pixels[9:, :, 1].max() < 8.1 / 255  # nothing greener was ever visible


def test_wholly_transparent():
    with pytest.raises(PictureError, match="wholly transparent"):
        images.read(Image.new("RGBA", (20, 20), (1, 2, 3, 0)))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_with_a_warning(format):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="first is used") as caught:
        picture = images.read(data)
    assert len(caught) == 1
    np.testing.assert_allclose(picture.pixels[0, :, 9, 9], [1, 0, 0], atol=0.02)


def test_linear_light_becomes_srgb():
    linear = random_values(20, 30, 3, dtype=np.uint16)
    profile = matrix_profile(SRGB_PRIMARIES, gamma(1))
    data = png16(linear, chunks=chunk(b"iCCP", b"p\0\0" + zlib.compress(profile)))
    np.testing.assert_allclose(hwc(images.read(data).pixels), srgb_encode(linear / FULL), atol=2e-4)


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


@pytest.mark.parametrize("curve", CURVES)
def test_wide_gamut_agrees_with_littlecms(curve):
    values = random_values(32, 48, 3, seed=1)
    profile = matrix_profile(ADOBE_PRIMARIES, CURVES[curve])
    data = encoded(Image.fromarray(values), "TIFF", icc_profile=profile)
    littlecms = ImageCms.profileToProfile(
        Image.fromarray(values),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    np.testing.assert_allclose(hwc(images.read(data).pixels), np.asarray(littlecms) / 255, atol=1.5 / 255)


def test_an_srgb_profile_changes_nothing():
    values = random_values(20, 30, 3)
    for profile in (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        matrix_profile(SRGB_PRIMARIES, SRGB_FORMULA),
    ):
        picture = images.read(encoded(Image.fromarray(values), "PNG", icc_profile=profile))
        np.testing.assert_allclose(hwc(picture.pixels), values / 255, atol=1e-7)


def test_grey_with_a_profile():
    values = random_values(20, 30)
    expected = srgb_encode((values / 255) ** 1.0)[..., None] * np.ones(3)
    grey = icc({b"kTRC": gamma(1)}, b"GRAY")
    rgb = matrix_profile(SRGB_PRIMARIES, gamma(1))
    for profile in (grey, rgb):
        picture = images.read(encoded(Image.fromarray(values), "PNG", icc_profile=profile))
        np.testing.assert_allclose(hwc(picture.pixels), expected, atol=3e-4)


def test_alpha_passes_a_profile_by():
    values = random_values(20, 30, 4) | 1
    profile = matrix_profile(SRGB_PRIMARIES, gamma(1))
    picture = images.read(encoded(Image.fromarray(values), "PNG", icc_profile=profile))
    np.testing.assert_allclose(hwc(picture.pixels), srgb_encode(values[..., :3] / 255), atol=3e-4)
    np.testing.assert_allclose(picture.alpha[0, 0], values[..., 3] / 255, atol=1e-6)


@pytest.mark.parametrize("space", [b"CMYK", b"RGB "])
def test_lookup_table_profiles(space):
    rng = np.random.default_rng(2)
    inputs = len(space.strip())
    lab = np.stack([rng.uniform(25, 75, 2**inputs), *rng.uniform(-20, 20, (2, 2**inputs))], axis=1)
    white, black = (0, -1) if space == b"CMYK" else (-1, 0)
    lab[white], lab[black] = (100, 0, 0), (0, 0, 0)
    profile = lab_table_profile(space, lab)
    corners = np.array(list(np.ndindex(*(2,) * inputs)), np.uint8) * 255
    picture = np.repeat(np.repeat(corners[None], 20, axis=0), 2, axis=1)
    image = Image.frombytes("CMYK" if inputs == 4 else "RGB", picture.shape[1::-1], picture.tobytes())
    image.info["icc_profile"] = profile
    xyz = skimage.color.lab2xyz(lab, illuminant="D50")
    expected = srgb_encode(np.clip(xyz @ np.linalg.inv(np.array(SRGB_PRIMARIES)), 0, 1))
    np.testing.assert_allclose(hwc(images.read(image).pixels)[0, ::2], expected, atol=2.5 / 255)


@pytest.mark.parametrize(
    "profile",
    [
        b"rubbish",
        matrix_profile(ADOBE_PRIMARIES, gamma(2))[:200],
        matrix_profile(ADOBE_PRIMARIES, parametric(9, 1)),
        icc({b"kTRC": gamma(1)}, b"GRAY"),
        icc({}, b"CMYK"),
        lab_table_profile(b"RGB ", np.zeros((8, 3)))[:230],
    ],
)
def test_a_broken_profile_is_ignored_with_a_warning(profile):
    values = random_values(20, 30, 3)
    with pytest.warns(UserWarning, match="colour profile .* ignored"):
        picture = images.read(encoded(Image.fromarray(values), "PNG", icc_profile=profile))
    np.testing.assert_allclose(hwc(picture.pixels), values / 255, atol=1e-7)


@few
@given(st.data())
def test_a_damaged_profile_never_breaks_a_run(data):
    profile = bytearray(matrix_profile(ADOBE_PRIMARIES, CURVES["full"]))
    for _ in range(data.draw(st.integers(1, 6))):
        profile[data.draw(st.integers(0, len(profile) - 1))] = data.draw(st.integers(0, 255))
    image = Image.new("RGB", (16, 16), "teal")
    image.info["icc_profile"] = bytes(profile)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = images.read(image).pixels
    assert torch.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1


def test_a_large_picture_is_converted_as_a_small_one():
    values = np.random.default_rng(0).random((600, 4, 3), dtype=np.float32)
    profile = matrix_profile(ADOBE_PRIMARIES, gamma(2.2))
    parts = [to_srgb(values[i : i + 1], profile) for i in range(600)]
    np.testing.assert_array_equal(to_srgb(values, profile), np.concatenate(parts))


def test_every_source_gives_the_same_picture(tmp_path):
    values = random_values(20, 30, 3)
    path = tmp_path / "é .png"
    Image.fromarray(values).save(path)
    chw = torch.from_numpy(values).permute(2, 0, 1)
    with open(path, "rb") as stream:
        sources = [
            (str(path), str(path)),
            (path, str(path)),
            (stream, str(path)),
            (path.read_bytes(), "<bytes>"),
            (io.BytesIO(path.read_bytes()), "<stream>"),
            (Image.open(path), "<image>"),
        ]
        pictures = [(images.read(source), name) for source, name in sources]
    pictures += [(images.read(array), "<array>") for array in (values, values / 255, np.float32(values / 255))]
    pictures += [(images.read(values.astype(np.uint16) * 257), "<array>")]
    pictures += [
        (images.read(t), "<tensor>") for t in (chw, chw[None], (chw / 255).requires_grad_(), chw.double() / 255)
    ]
    for picture, name in pictures:
        assert picture.name == name
        np.testing.assert_allclose(hwc(picture.pixels), values / 255, atol=1e-6)
        assert not picture.pixels.requires_grad
    assert images.read(pictures[0][0]) is pictures[0][0]


def test_standard_input_is_named():
    class Pipe(io.BytesIO):
        name = "<stdin>"

        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation("seek")

    assert images.read(Pipe(encoded(Image.new("RGB", (20, 20)), "PNG"))).name == "<stdin>"


def test_channels_of_arrays_and_tensors():
    values = random_values(20, 30, 4) | 1
    for channels, alpha in ((1, False), (2, True), (3, False), (4, True)):
        assert (images.read(values[..., :channels]).alpha is not None) == alpha
    np.testing.assert_array_equal(images.read(values[..., 0]).pixels, images.read(values[..., :1]).pixels)
    rgba = images.read(torch.from_numpy(values).permute(2, 0, 1))
    np.testing.assert_allclose(rgba.alpha[0, 0], values[..., 3] / 255, atol=1e-6)
    assert images.read(np.eye(20, dtype=bool)).pixels.mean() == pytest.approx(1 / 20)
    assert images.read(torch.full((1, 20, 20), 0.5, dtype=torch.bfloat16)).pixels.unique().tolist() == [0.5]


@pytest.mark.parametrize(
    "source",
    [
        np.full((20, 20, 3), 1.01),
        np.full((20, 20, 3), -0.01),
        np.full((20, 20, 3), np.nan),
        torch.full((3, 20, 20), float("inf")),
        np.zeros((20, 20, 5), np.uint8),
        np.zeros((3, 20, 20, 3), np.uint8),
        np.zeros((20, 20), np.int64),
        np.zeros((20, 20), object),
        np.zeros((0, 0, 3), np.uint8),
        np.zeros(20, np.uint8),
        torch.zeros(2, 3, 20, 20),
        torch.zeros(2, 20, 20),
        torch.zeros(20, 20),
        torch.zeros(3, 20, 20, dtype=torch.complex64),
        np.zeros((15, 20, 3), np.uint8),
        b"",
        b"no picture",
        io.StringIO("text"),
        "",
        "a\0b",
        "x" * 5000,
        "line\nbreak.png",
    ],
    ids=lambda source: f"{type(source).__name__}{getattr(source, 'shape', '')}",
)
def test_unfit_sources(source):
    with pytest.raises(PictureError) as caught:
        images.read(source)
    assert "\n" not in str(caught.value)


def test_what_is_no_source_at_all_is_a_type_error():
    with pytest.raises(TypeError):
        images.read(7)


def refused(path, *, match, **options):
    with pytest.raises(PictureError, match=match) as caught:
        images.read(path, **options)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and ";" in str(caught.value)


def test_files_that_are_no_pictures(tmp_path):
    refused(tmp_path / "missing.png", match="no such file")
    refused(tmp_path, match="is a folder")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", match="is empty")
    (tmp_path / "text.png").write_text("no picture at all, but a few words that are longer than a header")
    refused(tmp_path / "text.png", match="is no picture")
    (tmp_path / "link.png").symlink_to("link.png")
    refused(tmp_path / "link.png", match="cannot be opened")
    refused(tmp_path / "text.png" / "inside.png", match="cannot be opened")


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", match="no ordinary file")
    refused("/dev/null", match="no ordinary file")


def test_a_file_without_permission(unprivileged):
    path = unprivileged / "secret.png"
    Image.new("RGB", (20, 20)).save(path)
    path.chmod(0)
    refused(path, match="may not be read")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP"])
def test_a_file_that_is_cut_off(tmp_path, format):
    data = encoded(Image.fromarray(random_values(64, 64, 3)), format)
    path = tmp_path / f"half.{format.lower()}"
    path.write_bytes(data[: len(data) // 2])
    refused(path, match="is cut off")
    path.write_bytes(data[:20])
    refused(path, match="cut off|damaged")


def test_sixteen_bits_cut_off(tmp_path):
    path = tmp_path / "half.png"
    data = png16(random_values(64, 64, 3, dtype=np.uint16))
    path.write_bytes(data[: len(data) // 2])
    refused(path, match="is cut off")


def test_too_small(tmp_path):
    path = tmp_path / "small.png"
    Image.new("RGB", (100, 15)).save(path)
    refused(path, match="at least 16 pixels")
    Image.new("RGB", (16, 16)).save(path)
    assert images.read(path).pixels.shape == (1, 3, 16, 16)


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))))
    refused(path, match="10,000,000,000 pixels.*--max-pixels")


def test_max_pixels_is_the_callers(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 50)).save(path)
    refused(path, match="2,000 pixels.* 1,999", max_pixels=1999)
    assert images.read(path, max_pixels=2000).pixels.shape == (1, 3, 50, 40)
    with pytest.raises(PictureError):
        images.read(torch.zeros(3, 50, 40), max_pixels=1999)
    with pytest.raises(PictureError):
        images.read(Image.new("RGB", (50, 40)), max_pixels=1999)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_pillows_own_limit_stands_in_no_ones_way(monkeypatch, format):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # a 50×40 picture is a bomb by this
    data = encoded(Image.new("RGB", (50, 40), "red"), format)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.read(data).pixels[0, 0].mean() > 0.98
        with pytest.raises(PictureError, match="pixels"):
            images.read(data, max_pixels=500)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_threads_do_not_disturb_each_other(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encoded(Image.new("RGB", (50, 40), "red"), "TIFF")
    failures = []

    def work():
        try:
            for _ in range(20):
                images.read(data)
        except StyletxError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and Image.MAX_IMAGE_PIXELS == 100


MODES = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"],
}


@few
@given(st.sampled_from(sorted(MODES)), st.data(), st.integers(16, 40), st.integers(16, 40), st.integers(0, 99))
def test_any_mode_and_size_comes_in_as_pillow_shows_it(format, data, width, height, seed):
    mode = data.draw(st.sampled_from(MODES[format]))
    base = Image.fromarray(random_values(height, width, 4, seed=seed) | 1)
    base = base if "A" in mode else base.convert("RGB")
    if mode == "I;16":
        image = Image.fromarray(random_values(height, width, dtype=np.uint16, seed=seed))
        expected = np.asarray(image)[..., None].repeat(3, -1) / FULL
        alpha = None
    else:
        image = base.convert("L").convert(mode) if mode == "F" else base.convert(mode)
        shown = np.asarray(image.convert("RGBA")) / 255
        expected, alpha = shown[..., :3], shown[..., 3]
        if mode == "F":
            assume(np.asarray(image).max() > 1)
    picture = images.read(encoded(image, format))
    assert picture.pixels.shape == (1, 3, height, width)
    np.testing.assert_allclose(hwc(picture.pixels), expected, atol=1 / 255)
    if picture.alpha is None:
        assert alpha is None or (alpha == 1).all()
    else:
        np.testing.assert_allclose(picture.alpha[0, 0], alpha, atol=1e-6)


SMALL = Image.fromarray(random_values(18, 20, 3))
VALID = [
    encoded(SMALL, format) for format in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "ICO", "TGA", "AVIF")
]
VALID += [
    encoded(SMALL, "TIFF", compression="tiff_lzw"),
    encoded(SMALL.convert("CMYK"), "JPEG"),
    encoded(SMALL, "GIF", save_all=True, append_images=[SMALL.rotate(90)]),
    encoded(SMALL, "PNG", icc_profile=matrix_profile(ADOBE_PRIMARIES, gamma(2))),
    *(png16(random_values(18, 20, c, dtype=np.uint16), interlaced=c > 2) for c in (1, 2, 3, 4)),
]


def only_a_picture_or_a_picture_error(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = images.read(data, max_pixels=100_000)
        except PictureError as error:
            assert "\n" not in str(error)
        else:
            assert torch.isfinite(picture.pixels).all()
            assert picture.pixels.min() >= 0 and picture.pixels.max() <= 1


@settings(few, max_examples=200)
@given(st.sampled_from(VALID), st.data())
def test_damage_never_ends_in_anything_else(valid, data):
    damaged = bytearray(valid[: data.draw(st.integers(0, len(valid)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, min(len(damaged) - 1, 200)))] = data.draw(st.integers(0, 255))
    only_a_picture_or_a_picture_error(bytes(damaged))


@settings(few, max_examples=150)
@given(st.sampled_from([b"", *{valid[:n] for valid in VALID for n in (4, 12)}]), st.binary(max_size=300))
def test_random_bytes_never_end_in_anything_else(prefix, data):
    only_a_picture_or_a_picture_error(prefix + data)


def test_fit():
    assert images.fit((600, 800), 400) == (300, 400)
    assert images.fit((800, 600), 1600) == (1600, 1200)
    assert images.fit((3, 4000), 16) == (1, 16)
    assert images.fit((333, 500), 512) == (341, 512)  # 340.99


@given(st.integers(1, 20000), st.integers(1, 20000), st.integers(1, 20000))
def test_fit_keeps_the_proportions(height, width, long_side):
    fitted = images.fit((height, width), long_side)
    assert max(fitted) == long_side and min(fitted) >= 1
    exact = min(height, width) * long_side / max(height, width)
    assert min(fitted) == 1 or abs(min(fitted) - exact) <= 0.5


@few
@given(*[st.integers(1, 50)] * 4, st.floats(0, 1, width=32))
def test_resizing_a_constant_gives_the_constant(height, width, new_height, new_width, value):
    resized = images.resize(torch.full((2, 3, height, width), value), (new_height, new_width))
    assert resized.shape == (2, 3, new_height, new_width)
    assert torch.allclose(resized, torch.tensor(value), atol=1e-5)


@few
@given(*[st.integers(1, 50)] * 4, st.integers(0, 9))
def test_resizing_stays_in_range(height, width, new_height, new_width, seed):
    pixels = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)).round()
    resized = images.resize(pixels, (new_height, new_width))
    assert resized.min() >= 0 and resized.max() <= 1
    assert images.resize(pixels, (height, width)) is pixels


def test_resizing_agrees_with_pillow():
    values = np.random.default_rng(0).random((60, 80), dtype=np.float32)
    for size in ((23, 31), (75, 100)):
        pillow = Image.fromarray(values).resize(size[::-1], Image.Resampling.LANCZOS)
        ours = images.resize(torch.from_numpy(values)[None, None], size)
        np.testing.assert_allclose(ours[0, 0], np.clip(np.asarray(pillow), 0, 1), atol=2e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_resizing_on_a_gpu_agrees_with_the_cpu():
    pixels = torch.rand(1, 3, 300, 400, generator=torch.Generator().manual_seed(0))
    for size in ((64, 85), (450, 600)):
        torch.testing.assert_close(
            images.resize(pixels.cuda(), size).cpu(), images.resize(pixels, size), atol=1e-4, rtol=0
        )


def test_to_pil_rounds():
    values = torch.tensor([-1, 0, 0.5 / 255 + 1e-4, 1.4 / 255, 0.9999, 2.0]).expand(1, 3, 2, 6)
    assert np.asarray(images.to_pil(values))[0, :, 0].tolist() == [0, 0, 1, 1, 255, 255]
    with_alpha = images.to_pil(values[0], torch.full((1, 1, 2, 6), 0.5))
    assert with_alpha.mode == "RGBA" and np.asarray(with_alpha)[0, 0, 3] == 128


METADATA = {"seed": 7, "content": "fotos/Zürich 東京.jpg", "styles": ["a.png"], "weight": 0.1, "none": None}
SUFFIXES = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "PNG"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("transparent", [False, True])
def test_written_files_read_back(tmp_path, suffix, bits, transparent):
    path = tmp_path / f"out.{suffix}"
    ramp = torch.linspace(0, 1, 48).expand(32, 48)
    pixels = torch.stack([ramp, ramp.flip(1), ramp / 2])[None]
    alpha = torch.linspace(0.5, 1, 32)[:, None].expand(1, 1, 32, 48) if transparent else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images.write(path, pixels, alpha=alpha, metadata=METADATA, bits=bits)
    assert images.read_metadata(path) == METADATA
    jpeg = suffix.startswith("jp")
    assert len(caught) == (jpeg and transparent)
    picture = images.read(path)
    lossless = suffix.lower() in ("png", "tif", "tiff")
    assert picture.bits == (bits if lossless else 8)
    ground = pixels * alpha + 1 - alpha if jpeg and transparent else pixels
    tolerance = 0.5 / (2**picture.bits - 1) + 1e-6 if lossless else 0.06
    np.testing.assert_allclose(picture.pixels, ground, atol=tolerance)
    if transparent and not jpeg:
        np.testing.assert_allclose(picture.alpha, alpha, atol=0.5 / 255 + 1e-6)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(Image.open(path).info["icc_profile"])).profile
    assert profile.profile_description.startswith("sRGB")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_read_by_another_program(tmp_path, suffix, channels):
    values = random_values(20, 30, channels, dtype=np.uint16)
    planes = torch.from_numpy(values.astype(np.float32) / FULL).permute(2, 0, 1)
    path = tmp_path / f"out.{suffix}"
    images.write(path, planes[:3], alpha=planes[3:] if channels == 4 else None, bits=16, metadata={})
    if suffix == "tif":
        np.testing.assert_array_equal(Image.open(path), values >> 8)
        with tifffile.TiffFile(path) as file:
            assert file.pages[0].bitspersample == 16 and file.pages[0].shape == values.shape
    else:
        np.testing.assert_array_equal(Image.open(path), values >> 8)
        np.testing.assert_array_equal(decoded_png16(path.read_bytes(), channels), values)


def decoded_png16(data, channels):
    """Undoes the one filter that is written (up), from the specification."""
    width, height = struct.unpack(">2I", data[16:24])
    position, compressed = 8, b""
    while position < len(data):
        (length,), name = (
            struct.unpack(">I", data[position : position + 4]),
            data[position + 4 : position + 8],
        )
        body = data[position + 8 : position + 8 + length]
        assert struct.unpack(">I", data[position + 8 + length : position + 12 + length])[0] == zlib.crc32(name + body)
        compressed += body if name == b"IDAT" else b""
        position += 12 + length
    rows = np.frombuffer(zlib.decompress(compressed), np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 2).all()
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).view(">u2").reshape(height, width, channels)


def test_a_stream_gets_the_format_asked_for():
    for format in (None, "PNG", "jpeg", "WEBP", "TIFF"):
        stream = io.BytesIO()
        images.write(stream, torch.zeros(1, 3, 20, 20), format=format)
        assert Image.open(stream).format == (format or "PNG").upper()
    with pytest.raises(OutputError, match="JPEG, PNG, TIFF, WEBP"):
        images.write(io.BytesIO(), torch.zeros(1, 3, 20, 20), format="BMP")


def test_equal_runs_write_equal_files():
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        images.write(stream, torch.zeros(1, 3, 20, 20), metadata={"a": 1})
    assert streams[0].getvalue() == streams[1].getvalue()


def test_metadata_of_a_result_too_narrow_to_be_styled_again(tmp_path):
    images.write(tmp_path / "a.png", torch.zeros(3, 1, 20), metadata=METADATA)
    assert images.read_metadata(tmp_path / "a.png") == METADATA


def test_metadata_that_is_not_there(tmp_path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    for description in ("a holiday", '{"other": 1}', '{"styletx": 1}', "[]"):
        exif[0x010E] = description
        Image.new("RGB", (20, 20)).save(path, exif=exif)
        with pytest.raises(PictureError, match=r"a\.jpg holds no styletx metadata"):
            images.read_metadata(path)
    images.write(path, torch.zeros(1, 3, 20, 20))
    with pytest.raises(PictureError, match="no styletx metadata"):
        images.read_metadata(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(PictureError, match="no picture"):
        images.read_metadata(path)


def test_metadata_too_long_for_a_jpeg_costs_no_picture(tmp_path):
    long = {"sources": ["x" * 100] * 1000}
    with pytest.warns(UserWarning, match="too long for a JPEG"):
        images.write(tmp_path / "a.jpg", torch.zeros(1, 3, 20, 20), metadata=long)
    assert images.read(tmp_path / "a.jpg").pixels.shape == (1, 3, 20, 20)
    for suffix in ("png", "webp", "tif"):
        images.write(tmp_path / f"a.{suffix}", torch.zeros(1, 3, 20, 20), metadata=long)
        assert images.read_metadata(tmp_path / f"a.{suffix}") == long


@few
@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())))
def test_any_metadata_survives(tmp_path, metadata):
    for suffix, bits in (("png", 8), ("png", 16), ("jpg", 8), ("webp", 8), ("tif", 8), ("tif", 16)):
        path = tmp_path / f"a.{suffix}"
        images.write(path, torch.zeros(1, 3, 16, 16), metadata=metadata, bits=bits)
        assert images.read_metadata(path) == metadata


def unwritable(path, *, match, **options):
    with pytest.raises(OutputError, match=match) as caught:
        images.check_output(path, **options)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_check_output_leaves_nothing_behind_but_folders(tmp_path):
    path = tmp_path / "new" / "folder" / "a.png"
    images.check_output(path)
    assert path.parent.is_dir() and not list(path.parent.iterdir())
    path.write_bytes(b"old")
    before = path.stat().st_mtime_ns
    images.check_output(path)
    assert path.read_bytes() == b"old" and path.stat().st_mtime_ns == before
    assert list(path.parent.iterdir()) == [path]


def test_outputs_that_cannot_be(tmp_path):
    unwritable(tmp_path, match="is a folder")
    (tmp_path / "folder.png").mkdir()
    unwritable(tmp_path / "folder.png", match="is a folder")
    unwritable(tmp_path / "a.xyz", match=r"\.png, \.jpg, \.jpeg, \.webp, \.tif, \.tiff")
    unwritable(tmp_path / "a", match="ends in")
    (tmp_path / "file").touch()
    unwritable(tmp_path / "file" / "a.png", match="cannot be written")
    unwritable(tmp_path / ("x" * 300 + ".png"), match="name too long")
    os.mkfifo(tmp_path / "pipe.png")
    unwritable(tmp_path / "pipe.png", match="no ordinary file")
    (tmp_path / "loop.png").symlink_to("loop.png")
    unwritable(tmp_path / "loop.png", match="symbolic links")
    with pytest.raises(OutputError):
        images.check_output("a\0.png")


def test_a_result_too_large_for_its_format_is_known_beforehand(tmp_path):
    unwritable(tmp_path / "a.webp", size=(20000, 10), match="16383")
    images.check_output(tmp_path / "a.webp", size=(16383, 10))
    images.check_output(tmp_path / "a.png", size=(70000, 10))
    with pytest.raises(OutputError, match="cannot be written"):
        images.write(tmp_path / "a.webp", torch.zeros(3, 16, 16384))


def test_outputs_without_permission(unprivileged):
    folder = unprivileged / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    unwritable(folder / "a.png", match="permission denied")
    unwritable(folder / "deeper" / "a.png", match="permission denied")
    path = unprivileged / "protected.png"
    path.write_bytes(b"old")
    path.chmod(0o444)
    unwritable(path, match="permission denied")
    with pytest.raises(OutputError):
        images.write(path, torch.zeros(3, 20, 20))
    assert path.read_bytes() == b"old"


def test_a_source_picture_is_never_overwritten(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 20)).save(path)
    (tmp_path / "link.png").symlink_to(path)
    os.link(path, tmp_path / "hard.png")
    for same in (path, tmp_path / "link.png", tmp_path / "hard.png", tmp_path / "." / "a.png"):
        unwritable(same, sources=["<stdin>", path], match="source picture")
    images.check_output(tmp_path / "b.png", sources=[path, tmp_path / "missing.png"])


def test_an_interrupted_run_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        images.write(path, torch.zeros(3, 20, 20))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="file too large"):
            images.write(path, torch.rand(3, 64, 64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        images.write(tmp_path / "a.png", torch.zeros(3, 20, 20))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640
    (tmp_path / "a.png").chmod(0o604)
    images.write(tmp_path / "a.png", torch.zeros(3, 20, 20))
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o604


def test_a_symlink_is_written_through(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.png"
    link.symlink_to("elsewhere/real.png")
    for _ in range(2):  # dangling at first, then to a file
        images.check_output(link)
        images.write(link, torch.ones(3, 20, 20))
        assert link.is_symlink() and not (tmp_path / "elsewhere" / "real.png").is_symlink()
        assert images.read(tmp_path / "elsewhere" / "real.png").pixels.min() == 1
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_numbered(tmp_path):
    path = tmp_path / "a.b.png"
    assert images.numbered(path) == path
    path.touch()
    assert images.numbered(path) == tmp_path / "a.b-2.png"
    (tmp_path / "a.b-2.png").symlink_to("nowhere")
    assert images.numbered(path) == tmp_path / "a.b-3.png"


def test_a_relative_path_is_written_where_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.check_output("a.png")
    images.write("a.png", torch.zeros(3, 20, 20))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
