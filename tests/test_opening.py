import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import ADOBE_PRIMARIES, chunk, encoded, few, gamma, matrix_profile, png16, random_values, refused
from PIL import Image

from styletx import images
from styletx.errors import PictureError, StyletxError


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP"])
def test_a_truncated_file(tmp_path, format):
    data = encoded(Image.fromarray(random_values(64, 64, 3)), format)
    path = tmp_path / f"half.{format.lower()}"
    path.write_bytes(data[: len(data) // 2])
    refused(path, match="is truncated; get a complete copy$")
    path.write_bytes(data[:20])
    refused(path, match="truncated|damaged")


def test_truncated_sixteen_bits(tmp_path):
    path = tmp_path / "half.png"
    data = png16(random_values(64, 64, 3, dtype=np.uint16))
    path.write_bytes(data[: len(data) // 2])
    refused(path, match="is truncated; get a complete copy$")


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
    refused(path, match="10,000,000,000 pixels.*raise max_pixels$")


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
def test_pillows_own_limit_does_not_matter(monkeypatch, format):
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
