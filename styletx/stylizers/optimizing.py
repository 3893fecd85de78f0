"""The stylizer that optimises pixels towards a painting's style."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import backbones, colors, devices, grain, images, optimization
from styletx.errors import MemoryLimitError, OptionError, WeightsError, field, nearest
from styletx.files import shown
from styletx.losses import MOMENTS, PIXELS, Matching, Objective, Stage, Weighted, assembled, gatys_terms, parts
from styletx.losses.terms import whole
from styletx.matching import CELL, TINY, Match, Piece, Query, cells, grid, hypercolumns, match
from styletx.notes import Note, Notes
from styletx.optimization import Step
from styletx.options import OPTIMISATION, Options, idle, layer_weights
from styletx.painting import Mixture, Painting, Scale
from styletx.stylizers.base import Run, Stylizer, enlarged, joined
from styletx.stylizers.forecast import bytes_per_pixel

# Pixels painted beyond each edge and cut off at the end. Whatever a network takes to be beyond the border, it sees the
# outermost pixels from fewer places than the others, and they stay a duller rim of about this width.
MARGIN = 8
# With everything matched: what the style's weight is multiplied by, and by what more at the last scale. Matching holds
# no shapes of the photograph that the painting does not have, so content counts for more: little while strokes are laid
# out, which keeps them bold, and much where only details are left to paint, which keeps eyes and edges.
MATCHED_STYLE = 1 / 15
DETAILS = 1 / 4
# What the layer that sees strokes counts for more by at the last two scales, and the style with it. That draws their
# edges: without it, lines of a drawing and the leads of stained glass are soft.
STROKES = 3
PREPARATION = 6  # evaluations that it takes to match at a scale
MATCHED_COARSE_ITERATIONS = 2  # as `COARSE_ITERATIONS`; what is matched has its place already, and settles sooner
QUERY = 0.75  # how much of the coarser scale's result, and not of the photograph, is in what is matched
SHORTEST_STYLE = 32  # px of the painting's short side at the coarsest scale that show strokes
SKETCH_PIXELS = 148 * 111  # of a sketch, about
SKETCH_SHARE = 0.5  # of the picture's long side at most
SHORTEST_SKETCH = 24  # px of its short side, below which it is as large as the picture
SKETCH_ITERATIONS = 8  # evaluations; with more of them, on fewer pixels, there are blotches of colour
LARGEST_WHOLE = 1_500_000  # px of a picture that is evaluated as a whole: a little quicker than in tiles
TILE = 192  # px of a tile's side
TILED_BYTES = 180  # that a pixel of a picture takes in tiles, with everything the search keeps
INITIALS = ("content", "style", "noise")


class Goal(NamedTuple):
    """What is known beforehand of a result.

    Attributes:
        size: (H, W) of it.
        whole: (H, W) of the picture that it is a part of.
        region: how much each part of it counts for colours and style, `[1, 1, h, w]`; None for all alike.
        regions: which region of the painting each part belongs to, `[1, K, h, w]`; None for any.
    """

    size: tuple[int, int]
    whole: tuple[int, int]
    region: Tensor | None = None
    regions: Tensor | None = None


class OptimizingStylizer(Stylizer):
    """Repaints pictures in the style of a painting, by optimisation.

    The style's targets are kept from one picture to the next.

    Args:
        style: the painting, or several with a share of each, more than 0; they add up to 1.
        options: how to repaint.
        download: called with bytes done and bytes in all while weights are downloaded.
    """

    def __init__(
        self,
        style: images.Picture | Sequence[tuple[images.Picture, float]],
        options: Options,
        *,
        download: backbones.Progress | None = None,
    ) -> None:
        pictures, shares = zip(*([(style, 1.0)] if isinstance(style, images.Picture) else style), strict=True)
        self.styles = tuple(one.name for one in pictures)
        self.sha256 = joined([one.sha256 for one in pictures])
        self.options = options.resolved()
        self.match = self.options.match or 0.0
        self.device = devices.choose(options.device)
        self.initial = self._read_initial()
        self.backbone = backbones.load(
            options.backbone,
            matching=self.match > 0,
            style_layers=None if options.style_layers is None else layer_weights(options.style_layers),
            content_layers=None if options.content_layers is None else layer_weights(options.content_layers),
            weights=options.weights,
            seed=options.seed,
            pooling=options.pooling,
            padding=options.padding,
            smooth=options.smooth_activations,
            offline=options.offline or None,
            download=download,
        )
        self.dtype = devices.dtype(options.precision, self.device)
        self.network = self.backbone.module.to(self.device, self.dtype).to(memory_format=torch.channels_last)
        changed = [field(name) for name in idle(options, OPTIMISATION)]
        unused = [Note(f"Only one pass uses {', '.join(changed)}; the optimisation ignores it.")] if changed else []
        if not (self.match and options.style_weight):
            unused += [
                Note(f"Nothing is matched with the painting, so {field(name)} has no effect.")
                for name in ("rotations", "regions")
                if getattr(options, name)
            ]
        told = [note for one in pictures for note in (*one.notes, *enlarged(one, options.style_size))]
        self.notes = (*told, *self.backbone.notes, *unused)
        self.paintings = [
            Painting(
                one,
                self._activations,
                self.device,
                self.backbone.style_layers,
                self.backbone.matching_layers,
                rotations=options.rotations,
                style_size=options.style_size,
                stroke_size=options.stroke_size,
                has_regions=options.regions == "auto",
            )
            for one in pictures
        ]
        self.painting = self.paintings[0] if len(pictures) == 1 else Mixture(self.paintings, shares)

    def steps(self, run: Run) -> Iterator[Step]:
        """Repaint a run's photograph, coarse to fine.

        Raises:
            MemoryLimitError: the size does not fit into the device's memory.
        """
        try:
            photo = _framed(self._recoloured(self.given(run), run.region).to(self.device))
            region = None if run.region is None else _framed(run.region).to(self.device)
            goal = Goal(run.size, run.whole or run.size, region, self.painting.regions(photo))
            sizes = optimization.pyramid_sizes(_canvas(run.size))
            matches = list[Match]()
            axes = self._axes(photo)
            held = [photo]  # until its last use
            del photo

            def finer(painted: Tensor, size: tuple[int, int]) -> Tensor:
                # With the photograph's detail, eyes and ropes need not be found again.
                detailed = images.detailed(painted, images.resize(held[0], size))
                return images.resize(painted, size).lerp(detailed, self.match)

            def objective(size: tuple[int, int], earlier: Tensor | None) -> Objective:
                devices.release_memory()
                last = size == sizes[-1]
                return self._objective(images.resize(held.pop() if last else held[0], size), goal, earlier, matches)

            steps = optimization.coarse_to_fine(
                objective,
                _in_axes(self._initial(run, held[0], sizes[0]), axes),
                sizes,
                iterations=self.options.iterations,
                coarse_iterations=MATCHED_COARSE_ITERATIONS if self.match else optimization.COARSE_ITERATIONS,
                finer=finer,
                preparation=PREPARATION if self.match else 1,
                optimizer=self.options.optimizer,
                axes=axes,
            )
            for step in steps:
                yield dataclasses.replace(step, pixels=_unframed(step.pixels, run.size))
        except (RuntimeError, MemoryError) as error:
            if not devices.is_out_of_memory(error):
                raise
            raise self._out_of_memory(run.name, run.size) from None

    def sketch(self, photo: Tensor, region: Tensor | None = None) -> Tensor:
        """Paint a photograph `[1, 3, H, W]`, in the painting's colours, at one coarse scale: `[1, 3, h, w]`."""
        size = (photo.shape[-2], photo.shape[-1])
        photo, region = _framed(photo), None if region is None else _framed(region)
        goal = Goal(size, size, region)
        share = min(SKETCH_SHARE, math.sqrt(SKETCH_PIXELS / math.prod(size)))
        canvas = images.fit(_canvas(size), max(1, round(share * max(_canvas(size)))))
        if min(canvas) < SHORTEST_SKETCH:
            canvas = _canvas(size)
        axes = self._axes(photo)
        with torch.enable_grad():
            *_, last = optimization.coarse_to_fine(
                lambda at, earlier: self._objective(images.resize(photo, at), goal, earlier, []),
                _in_axes(photo, axes),
                [canvas],
                iterations=SKETCH_ITERATIONS,
                axes=axes,
            )
        return _unframed(last.pixels, size)

    @property
    def about(self) -> dict[str, Any]:
        """As `Stylizer.about`."""
        source = self.backbone.source
        return {
            "method": "optimisation",
            "backbone": self.backbone.architecture.name,
            "weights": {"origin": source.origin, "file": source.path.name, "sha256": source.sha256},
            "style_layers": self.backbone.style_layers,
            "content_layers": self.backbone.content_layers,
            "precision": str(self.dtype).removeprefix("torch."),
        }

    def _recoloured(self, photo: Tensor, region: Tensor | None = None) -> Tensor:
        if not self.match:
            return photo
        clouded = grain.clouded(photo, self.options.seed, self.painting.lead)
        target, seen = self.painting.colors, images.within(clouded, region)
        moved = colors.moved(clouded, colors.move(seen, target)).clamp_(0, 1)
        moved = colors.contrasted(moved, colors.contrast(images.within(moved, region), seen, target))
        return photo.lerp(moved, self.match)

    def _axes(self, photo: Tensor) -> Tensor | None:
        """The axes of colour in which to search: grey stays grey, and the fewer colours a painting has, the closer."""
        if self.painting.is_grey and colors.is_grey(photo):
            return colors.GREY
        if not self.match:
            return None
        return torch.eye(3, dtype=torch.float64).lerp(colors.axes(self.painting.colors), self.match)

    def _objective(self, photo: Tensor, goal: Goal, earlier: Tensor | None, matches: list[Match]) -> Objective:
        """The objective at one scale.

        Args:
            photo: the photograph at this scale, `[1, 3, h, w]`.
            goal: what the result will be.
            earlier: the coarser scale's result, enlarged to this one; None at the first.
            matches: those of the coarser scales; this one's is added.
        """
        options, backbone, (size, entire, region, regions) = self.options, self.backbone, goal
        at = (photo.shape[-2], photo.shape[-1])
        stages = self._stages(at)
        if stages:
            content = assembled(parts(stages, photo, tuple(backbone.content_layers)), tuple(backbone.content_layers))
            self._check_finite(content)
            strides = {layer: sight.stride for layer, sight in backbone.sights.items()}
        else:
            content = self._activations(photo)
            strides = {layer: round(max(at) / max(seen.shape[-2:])) for layer, seen in content.items()}
        share = max(at) / max(_canvas(size))
        painting = self.painting.scale(entire, share)
        is_last = at == _canvas(size)
        has_strokes = is_last and earlier is not None
        style_weight = options.style_weight * (MATCHED_STYLE * DETAILS if has_strokes else MATCHED_STYLE) ** self.match
        style_layers = self._style_layers(at, size, strides)
        more = sum(style_layers.values()) / sum(backbone.style_layers.values())
        # Gram's pull on a pixel of a region stays as it is beside content's and matching's, which count all of them.
        counted = 1.0 if region is None else float(region.mean() / region.max().clamp_min(TINY))
        terms = gatys_terms(
            content,
            painting.grams,
            backbone.content_layers,
            style_layers,
            content_weight=options.content_weight or 0.0,
            style_weight=style_weight * more * counted,
            tv_weight=options.tv_weight,
            moments=MOMENTS * self.match,
            weights=None if region is None else self._weights(region, at),
        )
        if painting.candidates is not None:
            weight = style_weight * self.match
            if earlier is None and not is_last:  # what leads at the last scale is all there is
                weight *= 1 - self.painting.lead
            if earlier is not None:
                photo = photo.lerp(earlier, QUERY + (1 - QUERY) * self.painting.lead)
            query = self._query(photo, painting, stages, content if earlier is None else None)
            inside = None if region is None else F.adaptive_avg_pool2d(region, query.size)
            wanted = query.wanted(painting.candidates, inside)
            del photo, query  # which may be large
            matches[:] = [
                match(
                    wanted,
                    painting.candidates,
                    matches[-1] if matches else None,
                    regions=None if regions is None else F.adaptive_avg_pool2d(regions, grid(at)),
                )
            ]
            del wanted
            models = matches[-1].models(painting.widths, self.dtype)
            term = Matching(backbone.matching_layers, models, painting.candidates.mean, painting.scales)
            terms.append(Weighted("matching", weight, term))
        return Objective(self.network, terms, stages)

    def _query(
        self, pixels: Tensor, painting: Scale, stages: Sequence[Stage], seen: Mapping[str, Tensor] | None
    ) -> Query:
        """The hypercolumns of a picture, whose activations may be known already."""
        layers = self.backbone.matching_layers
        size = grid((pixels.shape[-2], pixels.shape[-1]))
        ends = list(itertools.accumulate(painting.widths))
        channels = {
            layer: slice(end - width, end) for layer, end, width in zip(layers, ends, painting.widths, strict=True)
        }
        scales = dict(zip(layers, painting.scales, strict=True))
        known = None if stages else [whole(self._activations(pixels) if seen is None else seen)]

        def pieces() -> Iterator[Piece]:
            for part in known or parts(stages, pixels, layers):
                rows, columns = place = cells(part.places[PIXELS])
                here = (len(range(*rows.indices(size[0]))), len(range(*columns.indices(size[1]))))
                for layer in layers:
                    if layer in part.features:
                        values = hypercolumns([part.features[layer]], here, [scales[layer]])
                        yield Piece(values, channels[layer], place)

        return Query(size, pieces)

    def _weights(self, region: Tensor, at: tuple[int, int]) -> dict[str, Tensor]:
        """How much each position of each layer counts."""
        sizes = backbones.sizes(self.network, at)
        return {layer: F.adaptive_avg_pool2d(region, size) for layer, size in sizes.items()}

    def _stages(self, size: tuple[int, int]) -> list[Stage]:
        """The network in tiles, if a picture of a size (h, w) is to be evaluated so."""
        tile = self._tile(size)
        return [] if tile is None else optimization.stages(self.network, size, tile)

    def _tile(self, size: tuple[int, int]) -> int | None:
        """The side of tiles, if a picture of a size (h, w) is to be evaluated in them."""
        if self.options.tile == "off":
            return None
        if self.options.tile != "auto":
            if not self._has_tiles:
                raise OptionError(
                    f"what {self.backbone.architecture.name} sees of a place depends on the whole picture; remove "
                    f"{field('tile')}"
                )
            return int(self.options.tile)
        if max(size) <= TILE:  # one tile saves nothing, and a sketch need not find out what memory there is
            return None
        needed, available = math.prod(size) * self._bytes_per_pixel[0], devices.available_memory(self.device)
        is_large = self.device.type == "cpu" and math.prod(size) > LARGEST_WHOLE
        is_needed = is_large or (available is not None and needed > available)
        return TILE if is_needed and self._has_tiles else None

    @property
    def _has_tiles(self) -> bool:
        """Whether a part of a picture can be evaluated by itself."""
        return all(sight.is_local for sight in self.backbone.sights.values())

    def _style_layers(
        self, at: tuple[int, int], size: tuple[int, int], strides: Mapping[str, int | None]
    ) -> dict[str, float]:
        """What each layer counts for at one scale, by the pixels from one of its positions to the next."""
        layers = dict(self.backbone.style_layers)
        if 3 * max(at) > max(_canvas(size)):
            for layer in layers:
                if strides[layer] == CELL:
                    layers[layer] *= STROKES**self.match
        return layers

    @torch.no_grad()
    def _activations(self, pixels: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.network(pixels.contiguous(memory_format=torch.channels_last))
        self._check_finite(found)
        return found

    def _check_finite(self, found: Mapping[str, Tensor]) -> None:
        # One answer for all layers: asking each would make the host wait for the device each time.
        if not bool(torch.stack([features.isfinite().all() for features in found.values()]).all()):
            raise WeightsError(
                f"{self.backbone.source.path}: these weights give features that are not finite numbers; the file is "
                "damaged or belongs to another network, get it again"
            )

    def _read_initial(self) -> Tensor | None:
        init = self.options.init
        if init in INITIALS:
            return None
        if not os.path.exists(init) and (near := nearest(init, INITIALS)):
            raise OptionError(f"{field('init')} {shown(init)}: there is no such file; did you mean {near!r}?")
        return images.read(init, max_pixels=self.options.max_pixels).pixels

    def _initial(self, run: Run, photo: Tensor, coarsest: tuple[int, int]) -> Tensor:
        given = self.initial if run.initial is None else run.initial
        if given is None:
            if self.options.init == "content":
                return photo
            if self.options.init == "noise":
                generator = torch.Generator().manual_seed(self.options.seed)
                return torch.rand(1, 3, *coarsest, generator=generator).to(self.device)
            given = self.painting.pixels
        rows, columns = run.place
        return _framed(images.resize(given, run.whole or run.size)[..., rows, columns].to(self.device))

    @cached_property
    def _bytes_per_pixel(self) -> tuple[float, float]:
        return bytes_per_pixel(self.network, self.backbone.matching_layers, self.device)

    def _forecasts(self, size: tuple[int, int]) -> tuple[float, float]:
        """Bytes that a result of a size (H, W) needs on the device at its peak, and that the painting needs for it."""
        canvas, painting = self._bytes_per_pixel
        tile = self._tile(_canvas(size))
        whole = math.prod(_canvas(size)) * (canvas if tile is None else TILED_BYTES)
        return whole + (0 if tile is None else (2 * tile) ** 2 * painting), math.prod(self._style_size(size)) * painting

    def _style_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """That of the painting that is seen largest for a result of a size (H, W)."""
        return max((images.fit(one.size, one.side(size)) for one in self.paintings), key=math.prod)

    def _forecast(self, size: tuple[int, int]) -> float:
        return max(self._forecasts(size))

    def check(self, name: str, size: tuple[int, int]) -> Notes:
        """As `Stylizer.check`; a note if too little of the painting is seen."""
        available = devices.available_memory(self.device)
        if available is not None and self._forecast(size) > available:
            raise self._out_of_memory(name, size)
        share = max(optimization.pyramid_sizes(size)[0]) / max(size)
        painting = min(self.paintings, key=lambda one: min(images.fit(one.size, one.side(size, share))))
        short = min(images.fit(painting.size, painting.side(size, share)))
        if short >= SHORTEST_STYLE:
            return ()
        enough = math.ceil(SHORTEST_STYLE / share * max(painting.size) / min(painting.size))
        return (
            Note(
                f"The painting's short side is {short} px where large shapes are laid out, which says little of its "
                f"strokes; give a larger picture of it, or {field('style_size')} {enough}."
            ),
        )

    def _out_of_memory(self, name: str, size: tuple[int, int]) -> MemoryLimitError:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        available = devices.available_memory(self.device) or 0
        needed = self._forecast(size)
        # Where the forecast promised that it would fit, the largest size is one that it did not promise.
        largest = int(max(size) * min(math.sqrt(available / needed), 0.8))
        while largest and self._forecast(images.fit(size, largest)) > available:
            largest -= 1
        if largest and min(images.fit(size, largest)) >= images.MIN_SIDE:
            advice = f"the largest that fits is {field('size')} {largest}"
        elif self.options.style_size and self.options.style_size > max(size):
            advice = f"reduce {field('style_size')}"
        else:
            advice = f"free some memory or choose another {field('device')}"
        if needed > self._forecasts(size)[0]:
            name, size = self.style, self._style_size(size)
        return MemoryLimitError(
            f"{shown(name)}: {size[1]}×{size[0]} px needs about {needed / 2**30:.1f} GiB, and {self.device} has "
            f"{available / 2**30:.1f} GiB free; {advice}"
        )


def _in_axes(initial: Tensor, axes: Tensor | None) -> Tensor:
    """What a search begins with: in grey, if it cannot leave it."""
    return optimization.toned(initial, axes if axes is colors.GREY else None)


def _canvas(size: tuple[int, int]) -> tuple[int, int]:
    """The size that is painted for a picture of a size (H, W)."""
    return size[0] + 2 * MARGIN, size[1] + 2 * MARGIN


def _framed(pixels: Tensor) -> Tensor:
    """A picture `[B, C, H, W]` with its margin, mirrored at its edges."""
    return F.pad(pixels, (MARGIN,) * 4, mode="reflect")


def _unframed(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """A painted canvas at any scale without its margin; at the last scale that is a picture of the size (H, W)."""
    rows, columns = (
        round(extent * inner / outer)
        for extent, inner, outer in zip(pixels.shape[-2:], size, _canvas(size), strict=True)
    )
    top, left = (pixels.shape[-2] - rows) // 2, (pixels.shape[-1] - columns) // 2
    return pixels[..., top : top + rows, left : left + columns]
