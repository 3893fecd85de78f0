import io
import re
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from conftest import photo
from hypothesis import assume, given
from hypothesis import strategies as st
from picture_files import FULL, alpha_of, chunk, encoded, few, hwc, noted, png16, random_values, refused
from PIL import Image, ImageOps

from styletx import images
from styletx.errors import PictureError
from styletx.images import kinds


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM"])
def test_eight_bit_values_come_in_exactly(format):
    values = random_values(20, 30, 3)
    picture = images.read(encoded(Image.fromarray(values), format))
    assert picture.pixels.shape == (1, 3, 20, 30)
    assert picture.pixels.dtype == torch.float32 and picture.pixels.is_contiguous()
    assert picture.alpha is None and picture.bits == 8 and picture.notes == ()
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
        np.testing.assert_allclose(alpha_of(picture) * FULL, values[..., -1], atol=0.01)


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
    options: dict[str, Any] = layout | ({"extrasamples": [extra]} if extra else {})
    tifffile.imwrite(stream, stored, photometric="rgb", **options)
    picture = images.read(stream.getvalue())
    assert picture.bits == 16
    np.testing.assert_allclose(hwc(picture.pixels) * FULL, expected, atol=0.02)
    if extra:
        np.testing.assert_allclose(alpha_of(picture) * FULL, values[..., 3], atol=0.01)


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
    assert alpha_of(picture)[6, 6] == 0
    assert alpha_of(picture).sum() == 20 * 20 - 1


def test_integer_and_float_greys():
    ramp = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    for peak in (1, 255, FULL):
        picture = images.read(encoded(Image.fromarray(ramp * peak), "TIFF"))
        np.testing.assert_allclose(picture.pixels[0, 0], ramp, atol=1e-6)
        guessed = f"<bytes> does not tell the range of its values and was read as 0–{peak}."
        assert noted(picture) == ([] if peak == 1 else [guessed])
    for peak in (255, FULL):
        picture = images.read(Image.fromarray(np.rint(ramp * peak).astype(np.int32)))
        np.testing.assert_allclose(picture.pixels[0, 2], ramp, atol=0.5 / peak + 1e-6)
        assert noted(picture) == [f"<image> does not tell the range of its values and was read as 0–{peak}."]
    for brightest in (1.02, 12):
        picture = images.read(encoded(Image.fromarray(ramp * brightest), "TIFF"))
        np.testing.assert_allclose(picture.pixels[0, 0], np.minimum(ramp * brightest, 1), atol=1e-6)
        assert (
            len(noted(picture)) == 1
            and f"read as 0–1; what is outside, from 0 to {brightest:g}, was" in noted(picture)[0]
        )
    dark = images.read(Image.fromarray(np.full((20, 20), 1000, np.int32)))
    assert noted(dark) == [
        "<image> does not tell the range of its values and was read as 0–65535, of which it reaches 1000, so that it "
        "is nearly black."
    ]
    over = images.read(Image.fromarray(ramp * 258 - 1))
    assert len(noted(over)) == 1 and "read as 0–255; what is outside, from -1 to 257, was clipped" in noted(over)[0]
    picture = images.read(Image.fromarray(ramp * 4 - 1))
    assert noted(picture) == ["<image> has values from -1 to 3, which were stretched to black and white."]
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
    np.testing.assert_allclose(alpha_of(picture) * FULL, turned[..., 3], atol=0.01)


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
        np.testing.assert_allclose(alpha_of(picture), expected[..., 3], atol=1e-6, err_msg=mode)
        np.testing.assert_allclose(hwc(picture.pixels), expected[..., :3], atol=1e-6, err_msg=mode)
    palette = Image.fromarray(random_values(20, 30, 3)).quantize(8)
    for format in ("PNG", "GIF"):
        picture = images.read(encoded(palette, format, transparency=3))
        np.testing.assert_array_equal(alpha_of(picture) == 0, np.asarray(palette) == 3)
    grey = Image.fromarray(random_values(20, 30) // 64)
    picture = images.read(encoded(grey, "PNG", transparency=2))
    np.testing.assert_array_equal(alpha_of(picture) == 0, np.asarray(grey) == 2)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_with_a_note(format):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    picture = images.read(data)
    assert noted(picture) == ["<bytes> has more than one frame; the first is used."]
    np.testing.assert_allclose(picture.pixels[0, :, 9, 9], [1, 0, 0], atol=0.02)


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
        assert alpha is not None
        np.testing.assert_allclose(alpha_of(picture), alpha, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "restart_marker_rows": 1}])
def test_a_jpeg_without_its_end_marker_is_read_if_nothing_else_is_missing(options):
    picture = Image.fromarray(photo())
    whole = encoded(picture, "JPEG", **options)
    assert whole.endswith(b"\xff\xd9")
    for data in (whole[:-2], whole[:-1], whole[:-2] + bytes(64), whole[:-1] + bytes(9_999)):
        ended = images.read(data)
        assert torch.equal(ended.pixels, images.read(whole).pixels)
        assert noted(ended) == ["<bytes> has no end marker; nothing else of the picture is missing."]
    for short in (*range(20, 400, 19), len(whole) // 3):
        for filled in (0, 4, short, 9_999):
            with pytest.raises(PictureError, match="truncated"):
                images.read(whole[:-short] + bytes(filled))
    assert not images.read(whole + bytes(64)).notes


def test_what_a_telephone_writes_is_read_with_its_plugin(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="needs the extra styletx[heic]")
    picture = Image.fromarray(photo())
    heif.from_pillow(picture).save(tmp_path / "a.heic", quality=-1)
    found = images.read(tmp_path / "a.heic").pixels[0].permute(1, 2, 0).numpy()
    assert np.abs(found - photo() / 255).mean() < 5 / 255


def test_jpeg_xl_is_read_with_its_plugin(tmp_path):
    pytest.importorskip("pillow_jxl", reason="needs the extra styletx[jxl]")
    Image.fromarray(photo()).save(tmp_path / "a.jxl", lossless=True)
    assert torch.equal(images.read(tmp_path / "a.jxl").pixels, images.read(photo()).pixels)


@pytest.mark.parametrize(
    ("name", "header", "said"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is an HEIC picture, which needs a plugin; run: pip install"),
        ("a", b"\xff\x0a\x00\x00", "is a JPEG XL picture, which needs a plugin; run: pip install 'styletx[jxl]'"),
        ("a.CR2", b"II*\0\x10\0\0\0CR\2\0", "is a camera's raw file; develop it"),
        ("a.nef", b"MM\0*\0\0\0\x08", "is a camera's raw file"),
        ("b", b"FUJIFILMCCD-RAW 0201", "is a camera's raw file"),
        ("vgg.pth", b"PK\3\4", "is a model of another program and not a picture"),
        ("candy.t7", b"\4\0\0\0\1\0\0\0", "is a model of another program"),
        ("a.svg", b"<?xml version='1.0'?><svg>", "is a drawing or document and not a picture of pixels"),
        ("a.png", b"hello, this is text", "is not a picture that can be read; use a PNG"),
    ],
)
def test_what_is_no_picture_for_us_is_named_for_what_it_is(tmp_path, monkeypatch, name, header, said):
    monkeypatch.setattr(kinds, "enable", lambda header: None)
    for plugin in ("HEIF", "JXL"):
        monkeypatch.delitem(Image.OPEN, plugin, raising=False)
        monkeypatch.setattr(Image, "ID", [one for one in Image.ID if one != plugin])
    (tmp_path / name).write_bytes(header + bytes(200))
    refused(tmp_path / name, match=re.escape(said))
