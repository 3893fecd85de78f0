"""What crosses between host and device, counted on a device that this machine can always pretend: meta.

A mode watches every operation. It answers what the host asks of the device, which computes nothing, with numbers
that let a run go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import styletx
from styletx.optimization import Step, pyramid
from styletx.stylizers import OptimizingStylizer, Run

DEVICE = torch.device("meta")
aten = torch.ops.aten


class Transfers(TorchDispatchMode):
    """Counts what goes up to the device and what comes down, by shape."""

    def __init__(self, device: str = DEVICE.type) -> None:
        super().__init__()
        self.device = device
        self.up: Counter[tuple[int, ...]] = Counter()
        self.down: Counter[tuple[int, ...]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        operation, first = func.overloadpacket, args[0] if args else None
        if isinstance(first, torch.Tensor):
            is_on_device, is_pretended = first.device.type == self.device, self.device == DEVICE.type
            if operation is aten._local_scalar_dense and is_on_device:
                self.down[tuple(first.shape)] += 1
                if is_pretended:
                    return True
            if operation is aten._to_copy and "device" in kwargs:
                goes_to_device = torch.device(kwargs["device"]).type == self.device
                if is_on_device and not goes_to_device:
                    self.down[tuple(first.shape)] += 1
                    if is_pretended:
                        # Ever smaller losses: each evaluation is the best yet.
                        return torch.full(tuple(first.shape), 1 / (1 + self.down.total()), dtype=first.dtype)
                if not is_on_device and goes_to_device:
                    self.up[tuple(first.shape)] += 1
        return func(*args, **kwargs)


def on_device(painting: Any, weights: Path, **options: Any) -> OptimizingStylizer:
    """A stylizer that is prepared here and then moved to the pretended device."""
    stylizer = styletx.load_stylizer(
        painting, weights=str(weights), size=64, device="cpu", precision="float32", **options
    )
    assert isinstance(stylizer, OptimizingStylizer)
    stylizer.device = stylizer.paintings[0].device = DEVICE
    stylizer.network = stylizer.network.to(DEVICE)
    return stylizer


def counted(
    run: Run, device: str = DEVICE.type
) -> list[tuple[Step, Counter[tuple[int, ...]], Counter[tuple[int, ...]]]]:
    """The steps of a run, each with what went up and came down for it."""
    found = []
    with Transfers(device) as transfers:
        for step in run:
            found.append((step, transfers.up, transfers.down))
            transfers.up, transfers.down = Counter(), Counter()
    return found


def pictures(shapes: Counter[tuple[int, ...]]) -> Counter[tuple[int, ...]]:
    """Those of pictures; resizing also sends its kernels up, small and once for a pair of sizes."""
    return Counter({shape: count for shape, count in shapes.items() if len(shape) == 4})


ADAM = pytest.param("adam", marks=pytest.mark.slow(reason="the second of two optimisers"))


@pytest.mark.parametrize("match", [0.0, 1.0])
@pytest.mark.parametrize("optimizer", ["lbfgs", ADAM])
def test_an_iteration_synchronises_once(
    style_picture: Path,
    content_picture: Path,
    tiny_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    optimizer: str,
    match: float,
) -> None:
    monkeypatch.setattr(pyramid, "COARSEST_SIDE", 32)
    layers = {"style_layers": "relu1_1,relu2_1", "content_layers": "relu2_1"}
    options = {"iterations": 8, "optimizer": optimizer, "tv_weight": 0.1, "match": match}
    stylizer = on_device(style_picture, tiny_weights, **options, **layers)
    # Losses of total, content, style, variation and matching, and the change of the picture.
    once = Counter({(6 if match else 5,): 1})
    for count in range(2):
        steps = counted(stylizer.start(content_picture))
        assert {step.scale for step, *_ in steps} == {0, 1}
        for step, up, down in steps:
            if step.iteration > 1:
                assert (up, down) == (Counter(), once), step
        first, *others = [entry for entry in steps if entry[0].iteration == 1]
        # The photograph goes up once, and so does the painting with the first photograph: at the run's own size, and
        # where anything is matched also as a whole.
        painting = Counter({(1, 3, 48, 64): 2 if match else 1}) if count == 0 else Counter()
        assert pictures(first[1]) == Counter({(1, 3, 48, 64): 1}) + painting
        assert not any(pictures(up) for _, up, _ in others)
        # Whether the features are numbers is asked once for the photograph and once for the painting at each scale.
        questions = [1 if count else 2] * 2
        if match:
            # Once for what is matched at the second scale; and of the painting, at first, once to find how far it
            # leads, which is asked too.
            questions = [questions[0] + (0 if count else 2), questions[1] + 1]
        for (_, _, down), asked in zip((first, *others), questions, strict=True):
            components: Counter[tuple[int, ...]] = Counter()
            components.update({shape: number for shape, number in down.items() if len(shape) == 2})
            assert components.total() == (1 if match and not count else 0)  # of the painting at each scale
            assert down - components == once + Counter({(): asked})


def test_pictures_are_made_small_before_they_move(tiny_weights: Path) -> None:
    rng = np.random.default_rng(0)
    photo, painting = (rng.integers(0, 256, (300, 400, 3), dtype=np.uint8) for _ in range(2))
    layers = {"style_layers": "relu1_1", "content_layers": "relu1_1"}
    stylizer = on_device(painting, tiny_weights, style_size=48, iterations=1, **layers)
    (_, up, _), *_ = counted(stylizer.start(photo))
    # The painting is also looked at as a whole, at 256 px, to find out whether it leads.
    assert pictures(up) == Counter({(1, 3, 48, 64): 1, (1, 3, 36, 48): 1, (1, 3, 192, 256): 1})
