import io
import os
import random
import struct
import zlib

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from picture_files import FULL, alpha_of, few, random_values
from PIL import Image, ImageCms

from styletx import images
from styletx.errors import OutputError


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
    alpha = torch.linspace(0.5, 1, 32)[:, None].expand(1, 1, 32, 48)
    notes = images.write(path, pixels, alpha=alpha if transparent else None, metadata=METADATA, bits=bits)
    assert images.read_metadata(path) == METADATA
    jpeg = suffix.startswith("jp")
    assert ["JPEG has no transparency" in str(note) for note in notes] == [True] * (jpeg and transparent)
    picture = images.read(path)
    lossless = suffix.lower() in ("png", "tif", "tiff")
    assert picture.bits == (bits if lossless else 8)
    ground = pixels * alpha + 1 - alpha if jpeg and transparent else pixels
    tolerance = 0.5 / (2**picture.bits - 1) + 1e-6 if lossless else 0.06
    np.testing.assert_allclose(picture.pixels, ground, atol=tolerance)
    if transparent and not jpeg:
        np.testing.assert_allclose(alpha_of(picture), alpha[0, 0], atol=0.5 / 255 + 1e-6)
    else:
        assert picture.alpha is None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(Image.open(path).info["icc_profile"])).profile
    assert str(profile.profile_description).startswith("sRGB")


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
            assert file.series[0].dtype == np.uint16 and file.series[0].shape == values.shape
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


def test_metadata_too_long_for_a_jpeg_costs_no_picture(tmp_path):
    long = {"sources": ["x" * 100] * 1000}
    (note,) = images.write(tmp_path / "a.jpg", torch.zeros(1, 3, 20, 20), metadata=long)
    assert str(note) == "The metadata is too long for a JPEG file and was left out. PNG keeps it."
    assert images.read(tmp_path / "a.jpg").pixels.shape == (1, 3, 20, 20)
    for suffix in ("png", "webp", "tif"):
        assert images.write(tmp_path / f"a.{suffix}", torch.zeros(1, 3, 20, 20), metadata=long) == ()
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
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and ";" in message and not message.endswith(".")


def test_outputs_that_cannot_be(tmp_path):
    unwritable(tmp_path, match="is a folder")
    (tmp_path / "folder.png").mkdir()
    unwritable(tmp_path / "folder.png", match="is a folder")
    unwritable(tmp_path / "a.xyz", match=r"\.png, \.jpg, \.jpeg, \.webp, \.tif, \.tiff")
    unwritable(tmp_path / "a", match="no extension")


def test_a_result_too_large_for_its_format_is_known_beforehand(tmp_path):
    unwritable(tmp_path / "a.webp", size=(20000, 10), match="16383")
    images.check_output(tmp_path / "a.webp", size=(16383, 10))
    images.check_output(tmp_path / "a.png", size=(70000, 10))
    with pytest.raises(OutputError, match="cannot be written"):
        images.write(tmp_path / "a.webp", torch.zeros(3, 16, 16384))


def test_a_source_picture_is_never_overwritten(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    unwritable(path, sources=["<stdin>", path], match="one of the inputs")
    images.check_output(tmp_path / "b.png", sources=[path])


def test_a_name_that_is_refused_leaves_no_folder_behind(tmp_path):
    unwritable(tmp_path / "new" / "a.xyz", match=r"\.xyz")
    unwritable(tmp_path / "new" / "a.webp", size=(20000, 10), match="16383")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_run_leaves_the_old_file(tmp_path, monkeypatch, error):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def interrupted(*_):
        raise error

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(OutputError if error is OSError else error):
        images.write(path, torch.zeros(3, 20, 20))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_stream_that_fails():
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"<stream> cannot be written \(no space left on device\)"):
        images.write(Full(), torch.zeros(3, 20, 20))


CAMERA = {
    0x010E: "A ship",
    0x010F: "Maker",
    0x0110: "Model",
    0x0132: "2024:05:06 07:08:09",
    0x013B: "Zoë 写真".encode(),
}
LENS = {0x9003: "2024:05:06 07:08:09", 0xA434: "50mm f/1.8", 0x829A: (1, 250)}
PLACE = {1: "N", 2: (47.0, 22.0, 11.5), 3: "E", 4: (8.0, 32.0, 30.0)}


def photographed(format="JPEG"):
    """A picture as a camera writes it, with a thumbnail, a maker's note and the camera upside down."""
    exif = Image.Exif()
    for tag, value in (CAMERA | {0x0112: 3, 0x011A: 300.0, 0x8769: LENS | {0x927C: b"note", 0xA002: 99}}).items():
        exif[tag] = value
    exif[0x8825] = PLACE
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), "blue").save(stream, format, exif=exif.tobytes())
    return stream.getvalue()


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("name", "bits"), [("a.jpg", 8), ("a.png", 8), ("a.png", 16), ("a.webp", 8), ("a.tif", 8), ("a.tif", 16)]
)
def test_what_is_still_true_of_the_photograph_is_kept(tmp_path, source, name, bits):
    picture = images.read(photographed(source))
    metadata = {"content": "a.jpg", "note": "ü" * 50}
    images.write(tmp_path / name, picture.pixels, metadata=metadata, exif=picture.exif, bits=bits)
    with Image.open(tmp_path / name) as written:
        written.load()
        exif = written.getexif()
        assert {tag: exif[tag] for tag in CAMERA if tag != 0x013B} == {
            tag: CAMERA[tag] for tag in CAMERA if tag != 0x013B
        }
        assert exif[0x013B].encode("latin-1") == CAMERA[0x013B]
        assert {
            tag: tuple(value) if isinstance(value, tuple) else value for tag, value in exif.get_ifd(0x8825).items()
        } == PLACE
        assert exif.get_ifd(0x8769) == LENS
        assert not {0x0112, 0x011A} & set(exif)
        np.testing.assert_allclose(np.asarray(written.convert("RGB"))[0, 0], [0, 0, 255], atol=3)
    assert images.read_metadata(tmp_path / name) == metadata
    # A picture painted from it has its own.
    again = images.read(tmp_path / name)
    assert again.exif == picture.exif


@pytest.mark.parametrize(("name", "notes"), [("a.jpg", 1), ("a.png", 0), ("a.webp", 0), ("a.tif", 0)])
def test_only_what_is_too_long_for_a_jpeg_is_lost(tmp_path, name, notes):
    exif = Image.Exif()
    exif.load(photographed_exif := Image.open(io.BytesIO(photographed())).info["exif"])
    assert photographed_exif
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + b"x" * 64_000
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), "blue").save(stream, "PNG", exif=exif.tobytes())
    picture = images.read(stream.getvalue())
    told = images.write(tmp_path / name, picture.pixels, metadata={"note": "x" * 2000}, exif=picture.exif)
    assert len(told) == notes and all("EXIF data is too long for JPEG, so one entry" in str(one) for one in told)
    with Image.open(tmp_path / name) as written:
        written.load()
        exif = written.getexif()
        assert exif[0x0110] == CAMERA[0x0110] and exif.get_ifd(0x8825)[1] == "N"
        assert (0x9286 in exif.get_ifd(0x8769)) == (notes == 0)
    assert images.read_metadata(tmp_path / name) == {"note": "x" * 2000}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_broken_exif_block_is_left_out():
    data = bytearray(photographed())
    where = data.index(b"Exif\0\0")
    rng = random.Random(0)
    for _ in range(300):
        spoilt = bytearray(data)
        for _ in range(rng.randint(1, 12)):
            spoilt[where + 6 + rng.randrange(300)] = rng.randrange(256)
        picture = images.read(bytes(spoilt))
        stream = io.BytesIO()
        images.write(stream, picture.pixels, metadata={"a": 1}, exif=picture.exif, format=rng.choice(["JPEG", "TIFF"]))
        assert images.read_metadata(stream.getvalue()) == {"a": 1}


@pytest.mark.parametrize(
    ("options", "said"), [({"bits": 12}, "12 bits cannot be"), ({"format": 3}, "3 cannot be written")]
)
def test_what_cannot_be_written_so_is_told(tmp_path, options, said):
    with pytest.raises(OutputError, match=said):
        images.write(tmp_path / "a.png", torch.zeros(1, 3, 20, 20), **options)
    with pytest.raises(TypeError, match="a path or a stream"):
        images.write(None, torch.zeros(1, 3, 20, 20))  # type: ignore[arg-type]
