import io
import re
import zlib

import numpy as np
import pytest
import skimage.color
import torch
from hypothesis import given
from hypothesis import strategies as st
from picture_files import (
    ADOBE_PRIMARIES,
    CURVES,
    FULL,
    SRGB_FORMULA,
    SRGB_PRIMARIES,
    alpha_of,
    chunk,
    encoded,
    few,
    gamma,
    hwc,
    icc,
    lab_table_profile,
    matrix_profile,
    noted,
    parametric,
    png16,
    random_values,
    srgb_encode,
)
from PIL import Image, ImageCms

from styletx import images
from styletx.images.profiles import to_srgb


def test_linear_light_becomes_srgb():
    linear = random_values(20, 30, 3, dtype=np.uint16)
    profile = matrix_profile(SRGB_PRIMARIES, gamma(1))
    data = png16(linear, chunks=chunk(b"iCCP", b"p\0\0" + zlib.compress(profile)))
    np.testing.assert_allclose(hwc(images.read(data).pixels), srgb_encode(linear / FULL), atol=2e-4)


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
    np.testing.assert_allclose(alpha_of(picture), values[..., 3] / 255, atol=1e-6)


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
def test_a_broken_profile_is_ignored_with_a_note(profile):
    values = random_values(20, 30, 3)
    picture = images.read(encoded(Image.fromarray(values), "PNG", icc_profile=profile))
    (note,) = noted(picture)
    assert re.fullmatch(r"<bytes>: the colour profile is (broken|for another .*), so it was ignored\.", note)
    np.testing.assert_allclose(hwc(picture.pixels), values / 255, atol=1e-7)


@few
@given(st.data())
def test_a_damaged_profile_never_breaks_a_run(data):
    profile = bytearray(matrix_profile(ADOBE_PRIMARIES, CURVES["full"]))
    for _ in range(data.draw(st.integers(1, 6))):
        profile[data.draw(st.integers(0, len(profile) - 1))] = data.draw(st.integers(0, 255))
    image = Image.new("RGB", (16, 16), "teal")
    image.info["icc_profile"] = bytes(profile)
    pixels = images.read(image).pixels
    assert torch.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1


def test_a_large_picture_is_converted_as_a_small_one():
    values = np.random.default_rng(0).random((600, 4, 3), dtype=np.float32)
    profile = matrix_profile(ADOBE_PRIMARIES, gamma(2.2))
    parts = [to_srgb(values[i : i + 1], profile) for i in range(600)]
    np.testing.assert_array_equal(to_srgb(values, profile), np.concatenate(parts))
