"""A block cut with a gouge and printed in black over two inks: mountains, a lake and pines."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from painters.brushes import (
    Array,
    Generator,
    follow,
    grid,
    mix,
    noise,
    ramp,
    rgb,
    sample,
    scatter,
    smoothstep,
)

SUN_X, SUN_Y, WATERLINE = 0.88, 0.25, 0.62
PEAKS = [(0.52, 0.3, 1.4), (0.57, 0.19, 2.8), (0.62, 0.1, 0.3)]
PINES = [(0.13, 0.12, 0.97, 0.15), (0.31, 0.33, 0.93, 0.1), (1.24, 0.4, 0.93, 0.085), (0.02, 0.3, 0.95, 0.1)]


class Drawing(NamedTuple):
    """What the cutter follows and the printer inks, each ``[H, W]``."""

    tone: Array
    """How much wood is cut away: 0 prints black, 1 prints almost nothing."""
    angle: Array
    """The direction of the gouge."""
    cleared: Array
    """What is cleared completely."""
    red: Array
    green: Array


def draw(width: int, height: int, scale: float, rng: Generator) -> Drawing:
    """The whole design, from the sky to the pines in the foreground."""
    x, y = grid(width, height)
    distance, bearing = np.hypot(x - SUN_X, y - SUN_Y), np.arctan2(y - SUN_Y, x - SUN_X)
    tone = np.clip(1.0 - 0.62 * distance + 0.16 * noise(rng, x.shape, 170 * scale, 60 * scale), 0.12, 1)
    angle = bearing + np.pi / 2 + 0.16 * noise(rng, x.shape, 200 * scale, octaves=2)
    cloud = noise(rng, x.shape, 260 * scale, 44 * scale) - 0.7
    tone = np.where(cloud > 0, np.clip(0.25 + 0.9 * cloud, 0, 1), tone) * (np.abs(cloud + 0.04) > 0.1)
    angle = np.where(cloud > 0, 0.25 * np.sin(9 * x) + 0.05, angle)
    sun, mountains, outline = distance < 0.105, np.zeros(x.shape, bool), np.zeros(x.shape, bool)

    for foot, rise, phase in PEAKS:
        swing = np.sin(3.4 * x + phase)
        sunny = np.sign(swing * np.cos(3.4 * x + phase))
        ridge = foot - rise * (1 - np.abs(swing)) + 0.006 * noise(rng, (1, width), 120 * scale, octaves=4)
        below, facet = y - ridge, noise(rng, x.shape, 70 * scale, 220 * scale)
        mountain = (below > 0) & (y < WATERLINE)
        rock = np.clip(0.36 + 0.38 * sunny + 0.2 * facet + 0.3 * smoothstep(0.08, 0.2, below), 0, 0.95)
        tone = np.where(mountain, rock * (below > 0.006), tone)
        angle = np.where(mountain, np.arctan2(1.0, 0.9 * sunny + 0.3 * facet), angle)
        sun, mountains = sun & ~mountain, mountains | mountain

    lake, ripple = y >= WATERLINE, noise(rng, x.shape, 120 * scale, 22 * scale, 2)
    glitter = np.exp(-(((x - SUN_X) / (0.08 + 0.25 * (y - WATERLINE))) ** 2))
    tone = np.where(lake, np.clip(0.2 + 0.26 * ripple + 0.8 * glitter, 0, 1), tone)
    angle = np.where(lake, 0.25 * np.sin(14 * x + 40 * y) + 0.1 * ripple, angle)
    bank = y > 0.86 + 0.09 * np.sin(2.2 * x + 1.0) + 0.01 * noise(rng, (1, width), 60 * scale)
    tone = np.where(bank, np.clip(0.3 + 0.3 * noise(rng, x.shape, 70 * scale, 40 * scale), 0, 0.8), tone)
    angle = np.where(bank, -1.2 + 0.5 * noise(rng, x.shape, 90 * scale), angle)
    red = np.where(lake, 0.9 * glitter, np.clip(1.25 - 1.5 * distance, 0, 1) * ~mountains)
    green = np.where(mountains, 0.12 + 0.5 * (tone < 0.4), smoothstep(0.5, 0.85, distance))
    green = np.where(bank, 0.45, np.where(lake, 1 - glitter, green))

    for center, top, foot, spread in PINES:
        level, aside = (y - top) / (foot - top), x - center
        tier = (level * 8 + 0.25 * np.sin(60 * x)) % 1
        boughs = (np.abs(aside) < spread * level * (0.55 + 0.6 * tier)) & (level + 0.025 * np.sin(110 * x) < 0.86)
        tree = (boughs | ((np.abs(aside) < 0.011) & (level > 0.4))) & (level > 0) & (level < 1)
        sunny = (aside > 0) & (tier > 0.35)
        tone = np.where(tree, np.where(sunny, 0.34, 0.1) + 0.05 * noise(rng, x.shape, 20 * scale), tone)
        angle = np.where(tree, np.pi / 2 - np.clip(aside * 12, -1.1, 1.1), angle)
        outside = ndimage.distance_transform_edt(~tree) / scale
        rim = (outside > 0) & (outside < 2.9 + 0.5 * noise(rng, x.shape, 60 * scale))
        sun, outline = sun & ~tree, (outline & ~tree) | rim
    return Drawing(tone, angle, sun | outline, np.where(sun, 1, 0.75 * smoothstep(0.2, 0.9, red)), 0.8 * green)


def cut(drawing: Drawing, scale: float, rng: Generator) -> Array:
    """What the gouge takes away ``[H, W]``, 0 to 1: tapered cuts side by side, none crossing another."""
    (height, width), fine = drawing.tone.shape, 3
    block = Image.new("L", (width * fine, height * fine), 0)
    gouge = ImageDraw.Draw(block)
    taken = np.zeros(drawing.tone.shape, bool)
    reach = max(1, round(4.0 * scale))
    for start in scatter(rng, width, height, 2.6 * scale):
        if sample(taken, start) or sample(drawing.tone, start) < 0.16:
            continue
        path = follow(drawing.angle, start, rng.uniform(50, 110) * scale, 3 * scale)
        tone, middle = sample(drawing.tone, path), len(path) // 2
        stop = sample(taken, path) | (np.abs(tone - tone[middle]) > 0.3)
        first = np.flatnonzero(stop[:middle]).max(initial=-1) + 1
        last = middle + np.flatnonzero(stop[middle:]).min(initial=len(path) - middle)
        path, tone = path[first:last], tone[first:last]
        if len(path) < 4:
            continue
        tangent = np.gradient(path, axis=0)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1) / (np.hypot(*tangent.T)[:, None] + 1e-6)
        taper = np.sin(np.pi * np.linspace(0.02, 0.98, len(path)) ** 0.8) ** 0.6
        half = (0.7 + 2.5 * tone) * taper * scale * (1 + 0.1 * rng.standard_normal(len(path)))
        sides = path + normal * half[:, None], (path - normal * half[:, None])[::-1]
        gouge.polygon([tuple(point) for point in np.concatenate(sides) * fine], fill=255)
        for column, row in np.maximum(path.astype(int), 0):
            taken[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = True
    cuts = np.asarray(block.resize((width, height), Image.Resampling.LANCZOS), np.float32) / 255
    return np.maximum(cuts, ndimage.gaussian_filter(drawing.cleared.astype(np.float32), 0.7 * scale))


def paint(size: int, rng: Generator) -> Array:
    """The picture ``[H, W, 3]``, ``size`` pixels on its long side."""
    scale, width, height = size / 1024, size, size * 3 // 4
    drawing = draw(width, height, scale, rng)
    cuts = cut(drawing, scale, rng)
    paper = ramp(0.55 + 0.14 * noise(rng, cuts.shape, 90 * scale, 5 * scale), "#e2cfa4 #efe2c2 #f6ecd4")
    color = mix(paper, paper * rgb("#e8542e"), drawing.red)
    color = mix(color, color * rgb("#7fb0a6"), drawing.green)
    grain = noise(rng, cuts.shape, 260 * scale, 5 * scale, 2) + 0.5 * noise(rng, cuts.shape, 4 * scale, octaves=1)
    return mix(color, rgb("#14110f"), (1 - cuts) * (0.97 - 0.13 * smoothstep(1.0, 2.6, grain)))
