"""Reading files of weights, of every format and of hostile kinds."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from weights_files import CONTENT, LAYERS, assert_same, convolutions, one_line, published_state, tiny, write

from styletx.backbones import weights
from styletx.errors import WeightsError


def test_every_format_is_read(tmp_path: Path) -> None:
    write(tmp_path / "published.safetensors", published_state())
    write(tmp_path / "own names.safetensors", convolutions())
    (tmp_path / "old.pth").write_bytes(CONTENT)
    torch.save(published_state(), tmp_path / "zip.pth")
    shutil.copy(tmp_path / "zip.pth", tmp_path / "misnamed.safetensors")
    for path in sorted(tmp_path.iterdir()):
        found = weights.read(tiny(), path)
        assert_same(found.state, convolutions())
        assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    half = {name: tensor.half() for name, tensor in published_state().items()}
    found = weights.read(tiny(), write(tmp_path / "half.safetensors", half))
    assert_same(found.state, {name: tensor.half().float() for name, tensor in convolutions().items()})


@pytest.mark.parametrize(
    ("missing", "layers"),
    [
        ("features.5.bias", ("relu1_1", "relu1_2")),
        ("features.2.weight", ("relu1_1",)),
        ("classifier.0.weight", LAYERS),
    ],
)
def test_truncated_state_reaches_some_layers(missing: str, layers: tuple[str, ...]) -> None:
    state = published_state()
    del state[missing]
    architecture = tiny()
    assert weights.reached(architecture, architecture.convert(state)) == layers


def test_wrong_shape_is_not_reached() -> None:
    state = convolutions() | {"convolutions.relu1_2.weight": torch.zeros(4, 4, 5, 5)}
    assert weights.reached(tiny(), state) == ("relu1_1",)


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


def hostile_files(folder: Path, target: Path) -> Iterator[tuple[str, Path]]:
    def path(name: str, content: bytes) -> tuple[str, Path]:
        (folder / name).write_bytes(content)
        return name, folder / name

    yield path("plain.pth", pickle.dumps(Hostile(target)))
    for name, new in (("zip.pth", True), ("old.pth", False)):
        file = io.BytesIO()
        state = published_state() | {"x": Hostile(target)}
        torch.save(state, file, _use_new_zipfile_serialization=new)
        yield path(name, file.getvalue())
    whole = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), whole)
    yield path("module.pth", whole.getvalue())
    file = io.BytesIO()
    torch.save([torch.zeros(3)], file)
    yield path("list.pth", file.getvalue())
    yield path("empty.pth", b"")
    yield path("page.pth", b"<html>{not weights}</html>")
    yield path("half.pth", CONTENT[: len(CONTENT) // 2])
    good = safetensors.torch.save(published_state())
    yield path("half.safetensors", good[: len(good) // 2])
    yield path("length.safetensors", b"\xff" * 8 + good[8:])
    yield path("other.safetensors", safetensors.torch.save({"x": torch.zeros(3)}))
    wrong = {name: tensor[:2].contiguous() for name, tensor in published_state().items()}
    yield path("shapes.safetensors", safetensors.torch.save(wrong))
    for name, tensor in (
        ("nan", torch.full((4, 3, 3, 3), torch.nan)),
        ("integers", torch.ones(4, 3, 3, 3, dtype=torch.int64)),
    ):
        odd = published_state() | {"features.0.weight": tensor}
        yield path(f"{name}.safetensors", safetensors.torch.save(odd))
    file = io.BytesIO()
    odd = published_state() | {"features.0.weight": torch.ones(4, 3, 3, 3).to_sparse()}
    torch.save(odd, file)
    yield path("sparse.pth", file.getvalue())
    odd_tensors = {
        "nested": torch.nested.nested_tensor([torch.zeros(3), torch.zeros(2)]),
        "quantised": torch.quantize_per_tensor(torch.ones(4, 3, 3, 3), 0.1, 0, torch.qint8),
        "conjugate": torch.ones(4, 3, 3, 3, dtype=torch.complex64).conj(),
        "float8": torch.ones(4, 3, 3, 3).to(torch.float8_e4m3fn),
        "meta": torch.ones(4, 3, 3, 3, device="meta"),
    }
    for name, tensor in odd_tensors.items():
        torch.save(published_state() | {"features.0.weight": tensor}, folder / f"{name}.pth")
        yield f"{name}.pth", folder / f"{name}.pth"
    file = io.BytesIO()
    torch.save({"x": torch.zeros(2_000_000)}, file)
    with zipfile.ZipFile(file) as plain, zipfile.ZipFile(folder / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    yield "bomb.pth", folder / "bomb.pth"
    (folder / "large.safetensors").open("wb").truncate(2**33)
    yield "large.safetensors", folder / "large.safetensors"
    for name in ("pipe.pth", "pipe.safetensors"):
        os.mkfifo(folder / name)
        yield name, folder / name
    (folder / "folder.pth").mkdir()
    yield "folder.pth", folder / "folder.pth"
    yield "absent.pth", folder / "absent.pth"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_hostile_and_wrong_files_are_one_clear_line(tmp_path: Path) -> None:
    target = tmp_path / "executed"
    for name, path in hostile_files(tmp_path, target):
        with pytest.raises(WeightsError) as error:
            weights.read(tiny(), path)
        assert str(path) in one_line(error), name
        assert ";" in one_line(error), f"{name} says what to do"
    assert not target.exists()
    # The trap is one: read carelessly, the file does what it was made for.
    pickle.loads((tmp_path / "plain.pth").read_bytes())
    assert target.is_dir()
