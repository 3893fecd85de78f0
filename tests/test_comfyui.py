"""The nodes for ComfyUI, against stand-ins of the few functions of ComfyUI that they call."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from styletx import images

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "integrations" / "comfyui"


class Interrupted(Exception):
    pass


class Input:
    def __init__(self, id: str, **about: Any) -> None:
        self.id, self.about = id, about


@pytest.fixture
def pack(monkeypatch: pytest.MonkeyPatch) -> Any:
    told: list[tuple[int, int, Any]] = []

    class ProgressBar:
        def __init__(self, total: int) -> None:
            self.total = total

        def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
            told.append((value, total or self.total, preview))

    def kind() -> Any:
        return types.SimpleNamespace(Input=Input, Output=lambda *_, **about: about)

    io = types.SimpleNamespace(
        ComfyNode=object,
        Schema=lambda **about: types.SimpleNamespace(**about),
        NodeOutput=lambda *values: types.SimpleNamespace(args=values),
        Input=Input,
        **{name: kind() for name in ("Image", "Int", "Float", "Combo", "Mask")},
    )
    modules: dict[str, Any] = {
        "comfy": {},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy.model_management": {"throw_exception_if_processing_interrupted": lambda: None},
        "comfy_api": {},
        "comfy_api.latest": {"ComfyExtension": object, "io": io},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    spec = importlib.util.spec_from_file_location("comfyui_styletx", FOLDER / "__init__.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    made.told = told  # type: ignore[attr-defined]
    return made


def picture(name: str, size: tuple[int, int]) -> torch.Tensor:
    return images.resize(images.read(ROOT / "assets" / name).pixels, size)[0].movedim(0, -1)


def plain(node: Any) -> dict[str, Any]:
    """The defaults of a node's own controls."""
    return {one.id: one.about["default"] for one in node.define_schema().inputs if "default" in one.about}


def test_both_nodes_paint_batches_with_progress_and_masks(pack: Any) -> None:
    photographs = torch.stack([picture("content/coffee.jpg", (48, 72)), picture("content/cat.jpg", (48, 72))])
    painting = picture("styles/mosaic.jpg", (96, 96))[None]
    mask = torch.zeros(1, 48, 72)
    mask[..., 36:] = 1
    for node in asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list()):
        pack.told.clear()
        options = plain(node) | {"size": 72} | ({"iterations": 2} if "iterations" in plain(node) else {})
        with torch.inference_mode():  # as ComfyUI calls them
            (made,) = node.execute(photograph=photographs, painting=painting, **options).args
            (partly,) = node.execute(photograph=photographs, painting=painting, mask=mask, **options).args
        assert made.shape == (2, 48, 72, 3) and made.min() >= 0 and made.max() <= 1
        assert (made - photographs).abs().mean() > 0.02
        assert (partly - photographs)[:, :, :30].abs().max() < 0.02
        torch.testing.assert_close(partly[:, :, 42:], made[:, :, 42:], atol=0.02, rtol=0)
        values = [value for value, _, _ in pack.told[: len(pack.told) // 2]]
        assert values == sorted(values) and values[-1] == 2000
        kind, shown, _ = pack.told[0][2]
        assert kind == "JPEG" and max(shown.size) <= 88


def test_an_interrupted_queue_ends_it(pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise Interrupted

    monkeypatch.setattr(pack.comfy.model_management, "throw_exception_if_processing_interrupted", interrupt)
    photograph = picture("content/coffee.jpg", (48, 72))[None]
    with pytest.raises(Interrupted):
        pack.Stylize.execute(photograph=photograph, painting=photograph, size=72)


def test_the_example_and_the_schemas_fit_the_nodes(pack: Any) -> None:
    nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    schemas = {node.define_schema().node_id: node for node in nodes}
    example = json.loads((FOLDER / "example.json").read_text())
    (used,) = [one for one in example.values() if one["class_type"] in schemas]
    inputs = {one.id for one in schemas[used["class_type"]].define_schema().inputs}
    assert set(used["inputs"]) == inputs - {"mask"}
    for node in nodes:
        taken = inspect.signature(node.execute).parameters
        assert {"photograph", "painting", "mask"} <= set(taken)
        assert set(plain(node)) <= {field for field in __import__("styletx").Options.__dataclass_fields__}
