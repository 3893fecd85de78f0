"""styletx in ComfyUI: photographs repainted in the style of a painting, by optimisation or in one pass."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import ComfyExtension, io

import styletx
from styletx import images
from styletx.stylizers import Run, Stylizer

SHOWN = 512  # px of the preview's long side
BARS = 1000  # of progress
COLORS = ["painting", "photo", "match", "luminance"]


def painted(stylizer: Stylizer, photographs: torch.Tensor) -> torch.Tensor:
    """Repaint photographs `[B, H, W, 3]`, with progress, a preview, and an end when the queue is interrupted."""
    bar, found = comfy.utils.ProgressBar(BARS * len(photographs)), []
    for index, photograph in enumerate(photographs):
        run: Run = stylizer.start(photograph[..., :3].movedim(-1, 0))
        for step in run:
            comfy.model_management.throw_exception_if_processing_interrupted()
            shown = ("JPEG", images.to_pil(step.pixels), SHOWN)
            bar.update_absolute(round(BARS * (index + step.progress)), BARS * len(photographs), shown)
        found.append(run.result.pixels[0].movedim(0, -1))
    return torch.stack(found)


def mixed(photographs: torch.Tensor, made: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """What was painted, where a mask `[B, H, W]` is white, over the photographs `[B, H, W, 3]` at its size."""
    if mask is None:
        return made
    size = (made.shape[1], made.shape[2])
    before = torch.cat([images.resize(one[..., :3].movedim(-1, 0)[None], size) for one in photographs])
    share = images.resize(mask[:, None].float(), size).cpu()
    return torch.lerp(before.cpu().movedim(1, -1), made, share.movedim(1, -1))


def repainted(
    photographs: torch.Tensor, paintings: torch.Tensor, mask: torch.Tensor | None, **options: object
) -> io.NodeOutput:
    """What both nodes do, with options of `styletx.Options`."""
    with torch.inference_mode(False), torch.enable_grad():
        stylizer = styletx.load_stylizer(paintings[0][..., :3].movedim(-1, 0), offline=True, **options)
        return io.NodeOutput(mixed(photographs, painted(stylizer, photographs), mask))


def schema(node_id: str, display_name: str, description: str, *more: io.Input) -> io.Schema:
    """A node's name, inputs and outputs; more inputs than both have follow these."""
    inputs = [
        io.Image.Input("photograph", tooltip="The photographs to repaint."),
        io.Image.Input("painting", tooltip="The painting; of several, the first."),
        io.Int.Input("size", default=768, min=16, max=8192, tooltip="Long side of the result in px."),
        io.Float.Input("stroke_size", default=1.0, min=0.25, max=4.0, step=0.05, tooltip="Width of strokes."),
        io.Combo.Input("colors", options=COLORS, default=COLORS[0], tooltip="Whose colours the result has."),
        io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.05, tooltip="How much of it shows."),
        io.Int.Input("seed", default=0, min=0, max=2**31 - 1, tooltip="Seed of clouds and grain."),
        *more,
        io.Mask.Input("mask", optional=True, tooltip="What is white is painted."),
    ]
    return io.Schema(
        node_id=node_id,
        display_name=display_name,
        category="styletx",
        description=description,
        inputs=inputs,
        outputs=[io.Image.Output()],
    )


class Stylize(io.ComfyNode):
    """By optimisation."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Its name, inputs and outputs."""
        return schema(
            "StyletxStylize",
            "Stylize",
            "Repaint photographs in the style of a painting, by optimisation.",
            io.Float.Input("match", default=1.0, min=0.0, max=1.0, step=0.05, tooltip="Follow the painting."),
            io.Int.Input("iterations", default=12, min=1, max=2000, tooltip="Evaluations at full size."),
        )

    @classmethod
    def execute(
        cls, photograph: torch.Tensor, painting: torch.Tensor, mask: torch.Tensor | None = None, **options: object
    ) -> io.NodeOutput:
        """Paint."""
        return repainted(photograph, painting, mask, **options)


class StylizeOnePass(io.ComfyNode):
    """In one pass."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Its name, inputs and outputs."""
        return schema(
            "StyletxOnePass",
            "Stylize (one pass)",
            "Repaint photographs in the style of any painting in one pass, which takes a second or two.",
        )

    @classmethod
    def execute(
        cls, photograph: torch.Tensor, painting: torch.Tensor, mask: torch.Tensor | None = None, **options: object
    ) -> io.NodeOutput:
        """Paint."""
        return repainted(photograph, painting, mask, method="one-pass", **options)


class Styletx(ComfyExtension):
    """The pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Its nodes."""
        return [Stylize, StylizeOnePass]


async def comfy_entrypoint() -> Styletx:
    """What ComfyUI looks for."""
    return Styletx()
