"""Glass and gold tesserae laid along the outlines of two fish."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from painters.brushes import (
    Array,
    Generator,
    angle_along,
    grid,
    lit,
    mix,
    noise,
    ramp,
    rgb,
    sample,
    scatter,
    smoothstep,
)

FISH = [
    (0.53, 0.32, 1, ["#8c1c13", "#d8431f", "#f28c28", "#f9d27a"]),
    (0.81, 0.68, -1, ["#0f3d2e", "#1f8a5b", "#9cc83c", "#f4efb0"]),
]


class Cartoon(NamedTuple):
    """The drawing under the mosaic: ``color`` ``[H, W, 3]``, where ``gold`` goes, and the number of each ``part``."""

    color: Array
    gold: Array
    part: Array

    def over(self, mask: Array, color: Array, gold: Array | bool, part: Array | int) -> "Cartoon":
        """The cartoon, drawn over where ``mask`` ``[H, W]`` is set."""
        gold, part = np.where(mask, gold, self.gold), np.where(mask, part, self.part)
        return Cartoon(mix(self.color, color, mask), gold, part)


def swim(cartoon: Cartoon, x: Array, y: Array, scale: float, fish: int) -> Cartoon:
    """Draw one of the fish."""
    center_x, center_y, sense, colors = FISH[fish]
    dx, dy = (x - center_x) / 0.32, (y - center_y) / 0.32
    along = sense * (dx * np.cos(0.2) + dy * np.sin(0.2))
    across = dy * np.cos(0.2) - dx * np.sin(0.2) - 0.12 * np.sin(2.4 * along + 0.4) * sense
    width = 0.34 * np.clip(1 - along**2, 0, 1) ** 0.7 * (1 + 0.25 * along)
    tail = 0.06 + 0.62 * np.clip(-0.85 - along, 0, 1)
    tail = tail * ((along < -0.8) & (along > -1.4 + 0.5 * np.clip(0.3 - np.abs(across), 0, 1)))
    fin = (0.34 + 0.17 * np.sin((along + 0.55) * 3.5)) * (np.abs(along + 0.1) < 0.45)
    body = np.abs(across) < width
    fins = (np.abs(across) < np.maximum(tail, fin)) & ~body
    head = body & (along > 0.58)
    eye = np.hypot(along - 0.72, across + 0.04)

    scales = 0.5 + 0.45 * np.cos(along * 26 + 6 * np.abs(across))
    color = ramp(0.65 * scales + 0.35 * np.clip(0.5 + across * 2, 0, 1), " ".join(colors[:3]))
    color = mix(color, ramp(0.5 + 0.5 * np.sin(across * 40 + along * 6), " ".join(colors[2:])), ~body)
    color = mix(color, rgb(colors[0]), ~body & (np.abs(across) - width < 0.05))
    color = mix(color, ramp(along - 0.08, " ".join(colors[2:])), head)
    color = mix(mix(color, rgb("#f8f4e0"), eye < 0.085), rgb("#101018"), eye < 0.045)
    gold = (body & ~head & (scales > 0.9)) | (fins & (np.sin(across * 50) > 0.6))
    outside = ndimage.distance_transform_edt(~(body | fins)) / scale
    cartoon = cartoon.over(outside < 14, rgb("#0b1230"), False, 90 + fish)
    return cartoon.over(body | fins, color, gold, 100 + 10 * fish + 2 * body + head + 5 * (eye < 0.085))


def draw(width: int, height: int, scale: float) -> Cartoon:
    """Waves, fish and a border."""
    x, y = grid(width, height)
    wave = np.floor(9 * (y + 0.05 * np.sin(6 * x + 1.5) + 0.03 * np.sin(13 * x + 4 * y)))
    sea = ramp(0.5 + 0.5 * np.sin(wave * 2.2) + 0.1 * y, "#0d2c5e #11589a #1f93a8 #7fccbf")
    cartoon = Cartoon(sea, wave % 3 == 0, wave)
    for fish in range(len(FISH)):
        cartoon = swim(cartoon, x, y, scale, fish)
    margin_x, margin_y = np.minimum(x, x.max() - x), np.minimum(y, y.max() - y)
    block = np.sin(np.where(margin_x < margin_y, y, x) * np.pi * 10) > 0
    frame = np.digitize(np.minimum(margin_x, margin_y), [0.02, 0.07, 0.088])
    color = mix(rgb("#141a3c") + 0 * sea, ramp(block * 1.0, "#f1e6c8 #9c1f22"), frame == 1)
    return cartoon.over(frame < 3, color, frame == 2, 1000 + frame + 10 * (frame == 1) * block)


def own(points: Array, angle: Array, pixels: Array) -> tuple[Array, Array, Array]:
    """Find the tile that each of ``pixels`` ``[N, 2]`` belongs to.

    Tiles are square: nearness is the larger of the distances along and across the tile's own direction.

    Returns:
        The tile's number ``[N]``, how much nearer it is than the next ``[N]``, and the pixel's place in it ``[N, 2]``.
    """
    near = cKDTree(points).query(pixels, k=5)[1]
    offset, tilt = pixels[:, None] - points[near], sample(angle, points)[near]
    along = offset[..., 0] * np.cos(tilt) + offset[..., 1] * np.sin(tilt)
    across = offset[..., 1] * np.cos(tilt) - offset[..., 0] * np.sin(tilt)
    reach = np.maximum(np.abs(along), np.abs(across))
    rows, order = np.arange(len(pixels)), reach.argsort(1)
    first, second = order[:, 0], order[:, 1]
    place = np.stack([along[rows, first], across[rows, first]], -1)
    return near[rows, first], reach[rows, second] - reach[rows, first], place


def lay(points: Array, angle: Array, pixels: Array) -> Array:
    """Move the tiles ``points`` ``[N, 2]`` until they lie evenly in rows (Hausner 2001)."""
    for _ in range(14):
        owner = own(points, angle, pixels)[0]
        count = np.bincount(owner, minlength=len(points))[:, None]
        sums = np.stack([np.bincount(owner, axis, len(points)) for axis in pixels.T], -1)
        points = np.where(count > 0, sums / np.maximum(count, 1), points)
    return points


def paint(size: int, rng: Generator) -> Array:
    """The picture ``[H, W, 3]``, ``size`` pixels on its long side."""
    scale, width, height = size / 1024, size, size * 3 // 4
    cartoon = draw(width, height, scale)
    edges = ndimage.grey_dilation(cartoon.part, 3) != ndimage.grey_erosion(cartoon.part, 3)
    angle = angle_along(ndimage.gaussian_filter(ndimage.distance_transform_edt(~edges), 3 * scale))
    tile = 13.5 * scale
    pixels = np.stack(grid(width, height), -1) * height
    points = lay(scatter(rng, width, height, tile), angle, pixels[::3, ::3].reshape(-1, 2))
    owner, lead, place = own(points, angle, pixels.reshape(-1, 2))
    owner, lead, place = (
        owner.reshape(height, width),
        lead.reshape(height, width),
        place.reshape(pixels.shape),
    )

    glass = sample(cartoon.color, points) * (1 + 0.15 * rng.standard_normal((len(points), 1)))
    glass = glass + 0.035 * rng.standard_normal(glass.shape)
    leaf = ramp(rng.random(len(points)), "#7a4f12 #b8831f #e0b23a #f7dc7c #fff3b8")
    gold = sample(cartoon.gold, points)
    slant = rng.standard_normal(points.shape) * np.where(gold, 0.35, 0.16)[:, None] / tile
    sheen = 1 + (place * slant[owner]).sum(-1) + 0.05 * noise(rng, owner.shape, 10 * scale, octaves=2)
    inside = np.minimum(lead / 2, 0.62 * tile - np.abs(place).max(-1)) / scale
    inside += 0.15 * noise(rng, owner.shape, 9 * scale, octaves=2)
    sheen = sheen * lit(np.clip(inside, 0, 3.2) * scale, 0.32 / scale)
    color = np.where(gold[:, None], leaf, glass)[owner] * sheen[..., None]
    grout = ramp(0.5 + 0.2 * noise(rng, owner.shape, 8 * scale), "#4a4238 #8d8270 #b5a88e")
    return mix(grout * (0.75 + 0.1 * inside)[..., None], color, smoothstep(0.7, 1.7, inside))
