import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from picture_files import few
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from styletx import images

ASSETS = Path(__file__).resolve().parents[1] / "assets"


def test_fit():
    assert images.fit((600, 800), 400) == (300, 400)
    assert images.fit((800, 600), 1600) == (1600, 1200)
    assert images.fit((3, 4000), 16) == (1, 16)
    assert images.fit((333, 500), 512) == (341, 512)  # 340.99


@few
@given(st.integers(1, 20000), st.integers(1, 20000), st.integers(1, 20000))
def test_fit_keeps_the_proportions(height, width, long_side):
    fitted = images.fit((height, width), long_side)
    assert max(fitted) == long_side and min(fitted) >= 1
    exact = min(height, width) * long_side / max(height, width)
    assert min(fitted) == 1 or abs(min(fitted) - exact) <= 0.5


def pillow(pixels, size):
    """Pillow's Lanczos in floating point, [B,C,H,W] → [B,C,h,w], clipped to [0,1]."""
    height, width = size
    planes = [Image.fromarray(plane) for plane in pixels.flatten(0, 1).float().numpy()]
    resized = np.stack([np.asarray(plane.resize((width, height), Image.Resampling.LANCZOS)) for plane in planes])
    return torch.from_numpy(resized).clamp_(0, 1).view(*pixels.shape[:2], height, width)


SIZES = [
    ((451, 300), (337, 224)),
    ((384, 512), (48, 64)),
    ((60, 80), (75, 100)),
    ((48, 64), (384, 512)),
    ((17, 33), (16, 35)),
    ((100, 101), (7, 300)),
    ((101, 100), (300, 7)),
    ((80, 60), (80, 31)),
    ((80, 60), (31, 60)),
    ((1, 1), (20, 3)),
    ((1, 50), (9, 50)),
    ((40, 1), (1, 1)),
    ((16, 5000), (1, 2)),
    ((2, 3), (2, 2000)),
    ((3, 70_000), (3, 4)),
]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("old", "new"), SIZES, ids=str)
def test_resizing_agrees_with_pillow(old, new, memory_format):
    pixels = torch.rand(2, 3, *old, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=memory_format)
    resized = images.resize(pixels, new)
    assert resized.shape == (2, 3, *new) and resized.dtype == torch.float32 and resized.is_contiguous()
    torch.testing.assert_close(resized, pillow(pixels, new), atol=3e-6, rtol=0)


@few
@given(*[st.integers(1, 90)] * 4, st.integers(0, 9))
def test_any_size_agrees_with_pillow(height, width, new_height, new_width, seed):
    pixels = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed)).round()
    resized = images.resize(pixels, (new_height, new_width))
    torch.testing.assert_close(resized, pillow(pixels, (new_height, new_width)), atol=3e-6, rtol=0)
    assert resized.min() >= 0 and resized.max() <= 1


@pytest.mark.parametrize("name", ["content/cat.jpg", "styles/mosaic.jpg"])
@pytest.mark.parametrize("long_side", [64, 2000])
def test_pictures_are_resized_as_by_pillow(name, long_side):
    pixels = images.read(ASSETS / name).pixels
    size = images.fit((pixels.shape[-2], pixels.shape[-1]), long_side)
    torch.testing.assert_close(images.resize(pixels, size), pillow(pixels, size), atol=3e-6, rtol=0)


@few
@given(*[st.integers(1, 50)] * 4, st.floats(0, 1, width=32))
def test_resizing_a_constant_gives_the_constant(height, width, new_height, new_width, value):
    resized = images.resize(torch.full((2, 3, height, width), value), (new_height, new_width))
    assert resized.shape == (2, 3, new_height, new_width)
    assert torch.allclose(resized, torch.tensor(value), atol=1e-5)


def test_what_already_fits_is_returned_as_it_is():
    for dtype in (torch.float32, torch.bfloat16):
        pixels = torch.rand(1, 3, 20, 30).to(dtype)
        assert images.resize(pixels, (20, 30)) is pixels


def test_each_picture_of_a_batch_is_resized_by_itself():
    pixels = torch.rand(4, 3, 40, 30, generator=torch.Generator().manual_seed(0))
    one_by_one = torch.cat([images.resize(one[None], (33, 51)) for one in pixels])
    torch.testing.assert_close(images.resize(pixels, (33, 51)), one_by_one, atol=1e-6, rtol=0)


def lanczos(x):
    """The kernel itself, from its definition."""
    if x == 0:
        return 1.0
    return 3 * math.sin(math.pi * x) * math.sin(math.pi * x / 3) / (math.pi * x) ** 2 if abs(x) < 3 else 0.0


@pytest.mark.parametrize(("old", "new"), [(23, 9), (9, 23), (40, 39)])
def test_float64_stays_float64(old, new):
    pixels = torch.rand(1, 1, 1, old, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scale = old / new
    expected = []
    for place in range(new):
        offsets = [(column + 0.5 - (place + 0.5) * scale) / max(scale, 1) for column in range(old)]
        weights = [lanczos(offset) for offset in offsets]
        expected.append(sum(w * p for w, p in zip(weights, pixels.flatten().tolist(), strict=True)) / sum(weights))
    resized = images.resize(pixels, (1, new))
    assert resized.dtype == torch.float64
    torch.testing.assert_close(resized.flatten().tolist(), np.clip(expected, 0, 1).tolist(), atol=1e-13, rtol=0)


def test_other_types_are_resized_in_float32():
    pixels = torch.rand(1, 3, 40, 30, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float16, torch.bfloat16):
        resized = images.resize(pixels.to(dtype), (20, 45))
        torch.testing.assert_close(resized, images.resize(pixels.to(dtype).float(), (20, 45)), atol=0, rtol=0)


def test_a_gradient_ends_at_resizing():
    pixels = torch.rand(1, 3, 20, 30, requires_grad=True)
    assert not images.resize(pixels, (30, 20)).requires_grad and pixels.requires_grad


def test_resizing_within_inference_mode_does_not_spoil_what_comes_after():
    with torch.inference_mode():
        images.resize(torch.rand(1, 3, 21, 30), (29, 41))
    pixels = torch.rand(1, 3, 21, 30)
    assert not images.resize(pixels, (29, 41)).is_inference()


class Watcher(TorchDispatchMode):
    """Notes the devices of all tensors that an operation takes and makes, and the largest it makes."""

    def __init__(self):
        super().__init__()
        self.copies, self.most = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
        taken = {one.device.type for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)}
        self.copies += [(source, one.device.type) for one in tensors for source in taken - {one.device.type}]
        is_new = not (function.is_view or function is torch.ops.aten.lift_fresh.default)
        self.most = max([self.most, *(one.numel() for one in tensors if is_new)])
        return made


def test_nothing_returns_to_the_host():
    # A stand-in for a GPU that every machine has: the meta device holds shapes only.
    pixels = torch.empty(2, 3, 75, 101, device="meta")
    with Watcher() as first:
        resized = images.resize(pixels, (300, 51))
    assert resized.shape == (2, 3, 300, 51) and resized.device.type == "meta"
    assert set(first.copies) == {("cpu", "meta")}  # the weights
    with Watcher() as second:
        images.resize(pixels, (300, 51))
    assert second.copies == []


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_huge_picture_is_not_copied(dtype, memory_format):
    pixels = torch.empty(1, 3, 15_625, 16_000, device="meta", dtype=dtype, memory_format=memory_format)
    with Watcher() as watcher:
        images.resize(pixels, (500, 512))
    assert watcher.most * 20 <= pixels.numel()


def test_detail_is_what_a_small_painting_has_no_pixels_for():
    picture = 0.3 + 0.4 * torch.rand(2, 3, 60, 84, generator=torch.Generator().manual_seed(0))
    before = picture.clone()
    small = images.resize(picture, (15, 21))
    found = images.detailed(small - 0.2, picture)
    torch.testing.assert_close(found, before - 0.2)  # all of the detail, and the painting's own lightness
    assert torch.equal(picture, before)
    flat = images.detailed(small, torch.full_like(before, 0.5))
    torch.testing.assert_close(flat, images.resize(small, (60, 84)))  # nothing to add
    assert images.detailed(small + 1, before).max() <= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("size", [(64, 85), (450, 600), (20, 700)])
def test_resizing_on_a_gpu_agrees_with_pillow(size):
    pixels = torch.rand(1, 3, 300, 400, generator=torch.Generator().manual_seed(0))
    resized = images.resize(pixels.cuda(), size)
    assert resized.is_cuda
    torch.testing.assert_close(resized.cpu(), pillow(pixels, size), atol=1e-4, rtol=0)
