"""What every painter needs: noise, colour scales, fields of direction, and a canvas to drag a brush over.

Lengths are in pixels, angles in radians, colours RGB in [0, 1].
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

Array: TypeAlias = NDArray[Any]
Generator: TypeAlias = np.random.Generator


def grid(width: int, height: int) -> tuple[Array, Array]:
    """Coordinates x and y of every pixel, ``[H, W]`` each, in units of the height."""
    y, x = np.mgrid[:height, :width].astype(np.float32) / height
    return x, y


def noise(rng: Generator, shape: tuple[int, int], across: float, down: float | None = None, octaves: int = 3) -> Array:
    """Smooth noise of mean 0 and deviation 1 whose features are ``across`` by ``down`` pixels."""
    down = down or across
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        cells = [max(size * 2**octave / cell, 0.01) for size, cell in zip(shape, (down, across), strict=True)]
        lattice = rng.standard_normal([int(cell) + 5 for cell in cells]).astype(np.float32)
        rows, columns = (np.linspace(1, 1 + cell, size) for cell, size in zip(cells, shape, strict=True))
        for axis, place in enumerate((rows, columns)):
            whole = place.astype(int)
            part = (place - whole)[:, None] if axis == 0 else (place - whole)[None]
            part = part * part * (3 - 2 * part)
            lattice = lattice.take(whole, axis) * (1 - part) + lattice.take(whole + 1, axis) * part
        total += lattice.astype(np.float32) * 0.55**octave
    return (total - total.mean()) / (total.std() + 1e-6)


def rgb(color: str) -> Array:
    """The colour ``#rrggbb`` as three numbers in [0, 1]."""
    return np.array(ImageColor.getrgb(color), np.float32) / 255


def ramp(t: Array | float, colors: str) -> Array:
    """The colour at ``t`` (0 to 1) on an evenly spaced scale of ``colors``: ``#rrggbb``, separated by spaces."""
    stops = np.stack([rgb(color) for color in colors.split()])
    place = np.clip(t, 0, 1) * (len(stops) - 1)
    channels = [np.interp(place, range(len(stops)), channel) for channel in stops.T]
    return np.stack(channels, -1).astype(np.float32)


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below ``low``, 1 above ``high``, smooth in between; falling if ``low`` exceeds ``high``."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Array, b: Array, amount: Array) -> Array:
    """``a`` where ``amount`` ``[H, W]`` is 0, ``b`` (a picture or one colour) where it is 1."""
    return a + (b - a) * amount[..., None]


def lit(relief: Array, strength: float) -> Array:
    """Brightness around 1 of a height field in pixels, lit from the upper left."""
    slope_y, slope_x = np.gradient(relief * strength)
    return (1 + 0.7 * slope_x + 0.7 * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)


def angle_along(field: Array) -> Array:
    """The direction ``[H, W]`` of the level lines of ``field``."""
    slope_y, slope_x = np.gradient(field)
    return np.arctan2(slope_x, -slope_y)


def sample(field: Array, points: Array) -> Array:
    """The values of ``field`` ``[H, W, ...]`` at ``points`` ``[..., 2]`` (x, y), clamped to the picture."""
    column = np.clip(points[..., 0].astype(int), 0, field.shape[1] - 1)
    return field[np.clip(points[..., 1].astype(int), 0, field.shape[0] - 1), column]


def scatter(rng: Generator, width: int, height: int, spacing: float) -> Array:
    """Points ``[N, 2]`` (x, y) on a jittered grid over the picture, in random order."""
    y, x = np.mgrid[-spacing / 2 : height + spacing : spacing, -spacing / 2 : width + spacing : spacing]
    points = np.stack([x.ravel(), y.ravel()], -1)
    return rng.permutation(points + rng.uniform(-0.5, 0.5, points.shape) * spacing)


def follow(angle: Array, start: Array, length: float, step: float) -> Array:
    """The path ``[N, 2]`` along the directions ``angle`` ``[H, W]`` with ``start`` at its middle."""
    height, width = angle.shape
    halves = []
    for sign in (-1, 1):
        x, y = start
        half: list[tuple[float, float]] = []
        heading = None
        for _ in range(max(1, round(length / 2 / step))):
            turn = angle[min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)]
            # A direction has no sign: where the field flips, the path must not turn back on itself.
            heading = turn if heading is None or np.cos(turn - heading) > 0 else turn + np.pi
            x, y = x + sign * step * np.cos(heading), y + sign * step * np.sin(heading)
            half.append((x, y))
        halves.append(half)
    return np.array([*halves[0][::-1], tuple(start), *halves[1]], np.float32)


class Canvas:
    """Paint and its thickness: ``color`` ``[H, W, 3]`` and ``relief`` ``[H, W]``."""

    def __init__(self, shape: tuple[int, int], ground: str, rng: Generator, scale: float):
        self.color = np.full((*shape, 3), rgb(ground), np.float32)
        self.relief = np.zeros(shape, np.float32)
        self.bristles = noise(rng, (256, 1024), 90 * scale, 2.6 * scale, 2)
        self.rng = rng

    def stroke(
        self,
        path: Array,
        width: float,
        color: Array | float,
        *,
        dry: float = 0.0,
        taper: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """Drag a loaded brush along ``path`` ``[N, 2]``.

        Args:
            path: Points (x, y) in pixels.
            width: Width of the brush in pixels.
            color: RGB, or one number for a grey, in [0, 1].
            dry: How far the bristles part: 0 is a full brush, 1 leaves hardly a trace by the end.
            taper: 0 keeps the width, 1 tapers both ends to nothing.
            opacity: 1 hides what is below.
        """
        path = path.astype(np.float32)
        low = np.maximum(np.floor(path.min(0) - width).astype(int), 0)
        high = np.minimum(np.ceil(path.max(0) + width).astype(int) + 1, self.relief.shape[::-1])
        if (low >= high).any():
            return
        tangent = np.gradient(path, axis=0)
        step = np.hypot(*tangent.T) + 1e-6
        tangent /= step[:, None]
        arc = np.cumsum(step) - step[0]
        ys, xs = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
        near = ((xs - path[:, 0, None, None]) ** 2 + (ys - path[:, 1, None, None]) ** 2).argmin(0)
        dx, dy = xs - path[near, 0], ys - path[near, 1]
        along = arc[near] + dx * tangent[near, 0] + dy * tangent[near, 1]
        across = dy * tangent[near, 0] - dx * tangent[near, 1]
        row, column = self.rng.integers(256), self.rng.integers(1024)
        hair = self.bristles[(across + row).astype(int) % 256, (along + column).astype(int) % 1024]
        part = np.clip(along / (arc[-1] + 1e-6), 0, 1)
        half = width / 2 * (1 - taper * np.abs(2 * part - 1) ** 1.5) * (1 + 0.06 * hair)
        end = np.maximum(np.maximum(-along, along - arc[-1]), 0) * (1 + 0.25 * hair)
        inside = np.clip(half - np.hypot(across, end) + 0.5, 0, 1)
        if dry:
            inside *= smoothstep(-0.5, 0.5, hair + 2.6 - dry * (1.6 + 3.2 * part))
        box = np.s_[low[1] : high[1], low[0] : high[0]]
        edge = np.clip(np.abs(across) / np.maximum(half, 0.5), 0, 1)
        thickness = 1.2 + 0.45 * hair + 0.8 * edge**4 + 0.5 * part
        cover = inside * opacity
        self.relief[box] += (thickness - self.relief[box]) * cover
        self.color[box] = mix(self.color[box], np.asarray(color) * (1 + 0.05 * hair[..., None]), cover)
