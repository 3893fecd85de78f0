"""A drawing in pen and ink on white paper: a lighthouse on its rock, the sea and clouds, in lines and hatching."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from painters.brushes import Array, Generator, follow, grid, noise, ramp, rgb, sample, scatter, smoothstep

# Each goes over the one before where it is darker: the tone up to which it is drawn, its turn, and its spacing in px.
HATCHES = [(0.80, 0.0, 7.0), (0.56, 0.95, 6.4), (0.36, -0.6, 5.6), (0.2, 1.6, 4.6)]
HORIZON = 0.6
FINE = 3  # the lines are drawn at so many times the picture's size


class Drawing(NamedTuple):
    """What the pen follows, each ``[H, W]``."""

    tone: Array
    """0 is the darkest shadow, 1 is white paper."""
    angle: Array
    """The direction of the first hatching."""
    part: Array
    """The number of each thing; the pen draws a contour between two."""


def draw(width: int, height: int, scale: float, rng: Generator) -> Drawing:
    """The whole scene, from the sky to the rocks in front."""
    x, y = grid(width, height)
    cloud = noise(rng, x.shape, 330 * scale, 120 * scale, 3) - 1.1 * smoothstep(0.1, 0.55, y) + 0.35
    puff = noise(rng, x.shape, 90 * scale, 60 * scale, 2)
    tone = np.where(cloud > 0, 0.99 - 0.34 * smoothstep(0.8, 0.0, cloud + 0.3 * puff), 0.62 + 0.34 * y)
    angle = np.where(cloud > 0, 0.5 + 0.5 * puff, 0.06 * np.sin(5 * x) - 0.04)
    part = (cloud > 0).astype(int)

    sea, swell = y > HORIZON, noise(rng, x.shape, 170 * scale, 14 * scale, 2)
    near = np.clip((y - HORIZON) / (1 - HORIZON), 0, 1)
    tone = np.where(sea, 0.62 + 0.2 * swell * (0.5 + near) - 0.12 * near, tone)
    angle = np.where(sea, 0.1 * np.sin(9 * x + 30 * y) + 0.12 * swell * near, angle)
    part = np.where(sea, 2, part)

    crest = 0.6 - 0.2 * np.exp(-(((x - 0.86) / 0.16) ** 2)) - 0.1 * np.exp(-(((x - 1.16) / 0.12) ** 2))
    crest = crest + 0.02 * noise(rng, (1, width), 60 * scale, octaves=4)
    below, facet = y - crest, noise(rng, x.shape, 60 * scale, 110 * scale, 3)
    rock = (below > 0) & (y < 0.74 + 0.03 * np.sin(11 * x) + 0.015 * swell) & (x > 0.55)
    tone = np.where(rock, np.clip(0.5 + 0.3 * facet - 0.25 * smoothstep(0.02, 0.2, below), 0.05, 0.95), tone)
    angle = np.where(rock, 1.1 + 0.6 * facet, angle)
    part = np.where(rock, 10 + (facet > 0.45), part)

    u, v = (x - 0.85) / 0.055, (y - 0.12) / 0.3
    body = (v > 0.12) & (v < 1) & (np.abs(u) < 0.55 + 0.45 * v)
    side = u / (0.55 + 0.45 * v)
    band = np.floor(v * 5.5) % 2
    tone = np.where(body, np.where(band > 0, 0.42, 0.99) - 0.55 * smoothstep(-0.1, 0.95, side), tone)
    angle = np.where(body, np.where(band > 0, 0.12 * side, np.pi / 2), angle)
    part = np.where(body, 20 + band.astype(int), part)
    gallery = (v > 0.08) & (v <= 0.14) & (np.abs(u) < 0.85)
    lamp = (v > -0.1) & (v <= 0.08) & (np.abs(u) < 0.42)
    roof = (v > -0.26) & (v <= -0.1) & (np.abs(u) < 0.55 * (v + 0.26) / 0.16)
    for shape, shade, number in [(gallery, 0.15, 30), (lamp, 0.98 - 0.3 * (u > 0.1), 31), (roof, 0.1, 32)]:
        tone, part = np.where(shape, shade, tone), np.where(shape, number, part)
    window = body & (np.abs(side + 0.1) < 0.12) & (np.abs((v * 5.5) % 2 - 0.55) < 0.22) & (band == 0)
    tone, part = np.where(window, 0.05, tone), np.where(window, 33, part)

    u, v = (x - 1.06) / 0.07, (y - 0.46) / 0.09
    house = (np.abs(u) < 0.9) & (v > 0) & (v < 0.8)
    top = (v <= 0) & (v > -0.75) & (np.abs(u) < 1.05 + 0.35 * v)
    door = house & (np.abs(u + 0.3) < 0.16) & (v > 0.25)
    for shape, shade, turn, number in [(house, 0.97, 0.0, 40), (top, 0.4, 1.2, 41), (door, 0.08, 1.5, 42)]:
        tone, angle = np.where(shape, shade, tone), np.where(shape, turn, angle)
        part = np.where(shape, number, part)

    bank = y > 0.84 - 0.16 * smoothstep(0.62, 0.0, x) + 0.02 * noise(rng, (1, width), 50 * scale, octaves=4)
    stone = noise(rng, x.shape, 80 * scale, 50 * scale, 3)
    tone = np.where(bank, np.clip(0.42 + 0.34 * stone, 0.02, 0.95), tone)
    angle = np.where(bank, -0.7 + 0.7 * stone, angle)
    return Drawing(tone, angle, np.where(bank, 50 + np.digitize(stone, [-0.5, 0.6]), part))


def hatched(drawing: Drawing, scale: float, rng: Generator) -> Array:
    """The ink ``[H, W]``, 0 to 1: contours, and over them hatching that crosses where it is dark."""
    height, width = drawing.tone.shape
    sheet = Image.new("L", (width * FINE, height * FINE), 0)
    pen = ImageDraw.Draw(sheet)
    for limit, turn, spacing in HATCHES:
        taken = np.zeros(drawing.tone.shape, bool)
        reach = max(1, round(0.62 * spacing * scale))
        for start in scatter(rng, width, height, 0.6 * spacing * scale):
            if sample(taken, start) or sample(drawing.tone, start) > limit:
                continue
            path = follow(drawing.angle + turn, start, rng.uniform(40, 130) * scale, 3 * scale)
            middle, part = len(path) // 2, sample(drawing.part, path)
            stop = sample(taken, path) | (sample(drawing.tone, path) > limit) | (part != part[middle])
            first = np.flatnonzero(stop[:middle]).max(initial=-1) + 1
            last = middle + np.flatnonzero(stop[middle:]).min(initial=len(path) - middle)
            path = path[first:last]
            if len(path) < 4:
                continue
            line(pen, path, (0.5 + 0.75 * (limit - sample(drawing.tone, path))) * scale, rng)
            for column, row in np.maximum(path.astype(int), 0):
                taken[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = True
    ink = np.asarray(sheet.resize((width, height), Image.Resampling.LANCZOS), np.float32) / 255
    edge = ndimage.grey_dilation(drawing.part, 3) != ndimage.grey_erosion(drawing.part, 3)
    away = ndimage.distance_transform_edt(~edge)
    contour = smoothstep(1.25, 0.25, away / scale - 0.35 * noise(rng, edge.shape, 40 * scale, octaves=2))
    broken = smoothstep(-1.3, -0.8, noise(rng, edge.shape, 60 * scale, octaves=2))
    return np.maximum(ink, contour * broken)


def line(pen: ImageDraw.ImageDraw, path: Array, half: Array, rng: Generator) -> None:
    """Draw a line along ``path`` ``[N, 2]``, ``half`` ``[N]`` px to each side, thinner towards its end."""
    tangent = np.gradient(path, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1) / (np.hypot(*tangent.T)[:, None] + 1e-6)
    pressure = np.sqrt(np.linspace(1, 0.15, len(path))) * (1 + 0.1 * rng.standard_normal(len(path)))
    aside = normal * (np.clip(half, 0.35, None) * pressure)[:, None]
    pen.polygon([tuple(point) for point in np.concatenate([path + aside, (path - aside)[::-1]]) * FINE], fill=255)


def paint(size: int, rng: Generator) -> Array:
    """The picture ``[H, W, 3]``, ``size`` pixels on its long side."""
    scale, width, height = size / 1024, size, size * 3 // 4
    drawing = draw(width, height, scale, rng)
    ink = hatched(drawing, scale, rng)
    fibre = noise(rng, ink.shape, 5 * scale, octaves=2) + noise(rng, ink.shape, 200 * scale, 120 * scale)
    paper = ramp(0.6 + 0.12 * fibre, "#efe9da #f8f4e8 #fdfbf3")
    return paper + (rgb("#1b1d2a") - paper) * np.clip(ink * 0.95, 0, 1)[..., None]
