import io
import os

import numpy as np
import pytest
import torch
from conftest import possible
from picture_files import alpha_of, encoded, hwc, random_values, refused
from PIL import Image

from styletx import images
from styletx.errors import PictureError


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
    assert alpha_of(picture).sum() == 20 * 12


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


def test_fully_transparent():
    with pytest.raises(PictureError, match="fully transparent"):
        images.read(Image.new("RGBA", (20, 20), (1, 2, 3, 0)))


def test_every_source_gives_the_same_picture(tmp_path):
    values = random_values(20, 30, 3)
    path = tmp_path / possible("é .png")
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
    pictures += [(images.read(array), "<array>") for array in (values, values / 255, (values / 255).astype(np.float32))]
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
    np.testing.assert_allclose(alpha_of(rgba), values[..., 3] / 255, atol=1e-6)
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


def test_what_is_not_a_source_is_a_type_error():
    with pytest.raises(TypeError):
        images.read(7)  # type: ignore[arg-type]


def test_files_that_are_not_pictures(tmp_path):
    refused(tmp_path / "missing.png", match="file not found")
    refused(tmp_path, match="is a folder")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", match="is empty")
    (tmp_path / "text.png").write_text("no picture at all, but a few words that are longer than a header")
    refused(tmp_path / "text.png", match="is not a picture")
    (tmp_path / "link.png").symlink_to("link.png")
    refused(tmp_path / "link.png", match="cannot be opened")
    refused(tmp_path / "text.png" / "inside.png", match="cannot be opened")


def test_a_web_address_is_told_from_a_missing_file():
    refused("https://example.org/a.jpg", match="is a web address; download the file")


def test_a_file_is_checked_by_its_header(tmp_path):
    path = tmp_path / "a.png"
    data = encoded(Image.fromarray(random_values(64, 64, 3)), "PNG")
    for kept in (len(data), len(data) // 2):  # what is wrong further on shows only when it is decoded
        path.write_bytes(data[:kept])
        images.check(path, max_pixels=4096)
    too_small = encoded(Image.new("RGB", (64, 15)), "PNG")
    for wrong in (b"", b"no picture at all, but a few words", data[:20], too_small):
        path.write_bytes(wrong)
        with pytest.raises(PictureError) as read:
            images.read(path)
        with pytest.raises(PictureError) as checked:
            images.check(path)
        assert str(checked.value) == str(read.value)
    path.write_bytes(data)
    with pytest.raises(PictureError, match="4,096 pixels, over the limit of 4,095"):
        images.check(path, max_pixels=4095)


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", match="not an ordinary file")
    refused("/dev/null", match="not an ordinary file")


def test_a_file_without_permission(unprivileged):
    path = unprivileged / "secret.png"
    Image.new("RGB", (20, 20)).save(path)
    path.chmod(0)
    refused(path, match="permission denied")


def test_metadata_of_a_result_too_narrow_to_be_styled_again(tmp_path):
    images.write(tmp_path / "a.png", torch.zeros(3, 1, 20), metadata={"seed": 7})
    assert images.read_metadata(tmp_path / "a.png") == {"seed": 7}


def test_metadata_that_is_not_there(tmp_path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    for description in ("a holiday", '{"other": 1}', '{"styletx": 1}', "[]"):
        exif[0x010E] = description
        Image.new("RGB", (20, 20)).save(path, exif=exif)
        with pytest.raises(PictureError, match=r"a\.jpg has no styletx metadata"):
            images.read_metadata(path)
    images.write(path, torch.zeros(1, 3, 20, 20))
    with pytest.raises(PictureError, match="no styletx metadata"):
        images.read_metadata(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(PictureError, match="not a picture"):
        images.read_metadata(path)


ODD_TENSORS = {
    "meta": lambda: torch.zeros(3, 40, 40, device="meta"),
    "sparse": lambda: torch.zeros(3, 40, 40).to_sparse(),
    "complex": lambda: torch.zeros(3, 40, 40, dtype=torch.complex64).conj(),
    "quantised": lambda: torch.quantize_per_tensor(torch.zeros(3, 40, 40), 0.1, 0, torch.quint8),
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(3, 40, 40)]),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ODD_TENSORS)
def test_a_tensor_of_no_plain_numbers_is_refused(kind):
    with pytest.raises(PictureError, match=r"^<tensor> does not hold plain numbers; give a dense one"):
        images.read(ODD_TENSORS[kind]())


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_a_matrix_is_an_array():
    values = random_values(20, 30, 1)[..., 0]
    assert torch.equal(images.read(np.matrix(values)).pixels, images.read(values).pixels)
