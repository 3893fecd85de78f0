"""A travel poster in eight flat inks: the evening sun over a bay, hills behind one another, a boat and two pines."""

import numpy as np
from scipy import ndimage

from painters.brushes import Array, Generator, grid, noise, rgb, smoothstep

SUN_X, SUN_Y, SHORE = 0.83, 0.4, 0.63
RINGS = [0.11, 0.2, 0.31, 0.44, 0.6]
SKY = "#fff3cf #fbd57a #f4a64b #e9743c #c94b46 #8f3a55"
HILLS = [
    (0.52, 0.11, 3.1, 0.9, "#a94e5e"),
    (0.57, 0.10, 4.3, 2.6, "#7a4468"),
    (0.61, 0.08, 6.1, 0.2, "#4b3a66"),
]
PINES = [(0.17, 0.1, 0.16), (0.34, 0.42, 0.1)]
FINE = 2  # the picture is printed at so many times its size


def land(color: Array, x: Array, y: Array, rough: Array) -> Array:
    """The sky in rings around the sun, and the hills, each darker than the one behind it."""
    distance = np.hypot(x - SUN_X, y - SUN_Y)
    ring = np.digitize(distance, RINGS)
    for index, ink in enumerate(SKY.split()):
        color = np.where((ring == index)[..., None], rgb(ink), color)
    for foot, rise, waves, phase, ink in HILLS:
        # Straight slopes, as scissors cut them; those that face the sun are lit.
        place = x * waves / np.pi + phase
        swing = np.abs(place % 2 - 1)
        ridge = foot - rise * swing + 0.012 * rough
        color = np.where((y > ridge)[..., None], rgb(ink), color)
        facing = np.where(x < SUN_X, place % 2 > 1, place % 2 < 1)
        facet = np.abs((place * 3.5 + 4 * (y - ridge)) % 2 - 1)
        lit = (y > ridge) & facing & (y - ridge < rise * (0.2 + 0.75 * facet) * swing)
        color = np.where(lit[..., None], rgb(ink) + (rgb("#f4a64b") - rgb(ink)) * 0.3, color)
    return color


def bay(color: Array, x: Array, y: Array, wave: Array) -> Array:
    """The water: broad bars of two blues, and the sun's reflection in bars that grow towards the viewer."""
    water, down = y > SHORE, np.clip(y - SHORE, 0, 1)
    row = (down + 0.0015) ** 0.72 * 20
    color = np.where(water[..., None], rgb("#1f5d78"), color)
    reach = 0.3 + 0.25 * np.sin(np.floor(row) * 2.3)
    bar = (row % 1 < 0.42) & (np.abs((x * 1.7 + np.floor(row) * 0.37 + 0.02 * wave) % 1 - 0.5) < reach)
    color = np.where((water & bar)[..., None], rgb("#2f8a93"), color)
    wide = 0.07 + 0.3 * down * (0.7 + 0.3 * np.sin(np.floor(row) * 1.9))
    glow = (row % 1 < 0.62) & (np.abs(x - SUN_X + 0.01 * np.sin(np.floor(row) * 4.1)) < wide)
    return np.where((water & glow)[..., None], rgb("#fbd57a"), color)


def boat(color: Array, x: Array, y: Array) -> Array:
    """A boat with two sails and its reflection."""
    u, v = (x - 0.55) / 0.12, (y - 0.71) / 0.12
    hull = (v > 0) & (v < 0.26) & (np.abs(u) < 0.85 - 0.9 * v)
    main = (v < -0.05) & (v > -1.55) & (u > 0.02) & (u < 0.75 * np.clip(1 + (v + 0.05) / 1.5, 0, 1) ** 0.8)
    jib = (v < -0.1) & (v > -1.3) & (u < -0.04) & (u > -0.6 * (1 + (v + 0.1) / 1.2))
    shadow = (v > 0.3) & (v < 1.0) & (np.abs(u) < 0.6 * (1.1 - v)) & ((v * 6) % 1 < 0.6)
    for shape, ink in [(shadow, "#173b57"), (main, "#fff3cf"), (jib, "#e9743c"), (hull, "#5b1f33")]:
        color = np.where(shape[..., None], rgb(ink), color)
    return color


def pines(color: Array, x: Array, y: Array, rough: Array) -> Array:
    """The near bank and its trees, in the darkest ink, with a lit edge."""
    edge = 0.9 - 0.1 * smoothstep(0.75, 0.0, x) + 0.016 * rough
    bank = y > edge
    color = np.where(bank[..., None], rgb("#12303a"), color)
    for center, top, spread in PINES:
        level, aside = (y - top) / (0.92 - top), x - center
        tier = (level * 6) % 1
        boughs = (np.abs(aside) < spread * level * (0.35 + 0.75 * tier)) & (level > 0) & (level < 0.86)
        trunk = (np.abs(aside) < 0.013) & (level > 0.5) & (level < 1.05)
        color = np.where((boughs | trunk)[..., None], rgb("#12303a"), color)
        sunny = boughs & (aside > spread * level * (0.1 + 0.45 * tier))
        color = np.where(sunny[..., None], rgb("#2d6a5a"), color)
    tufts = bank & (y < edge + 0.018 + 0.008 * np.sin(23 * x))
    return np.where(tufts[..., None], rgb("#2d6a5a"), color)


def paint(size: int, rng: Generator) -> Array:
    """The picture ``[H, W, 3]``, ``size`` pixels on its long side."""
    width, height = size * FINE, size * 3 // 4 * FINE
    scale = width / 1024
    x, y = grid(width, height)
    rough, wave = noise(rng, (1, width), 130 * scale, octaves=2), noise(rng, x.shape, 90 * scale, 20 * scale, 1)
    color = np.zeros((*x.shape, 3), np.float32)
    color = boat(bay(land(color, x, y, rough), x, y, wave), x, y)
    color = pines(color, x, y, rough)
    margin = np.minimum(np.minimum(x, x.max() - x), np.minimum(y, 1 - y))
    color = np.where((margin < 0.028)[..., None], rgb("#fff3cf"), color)
    small = color.reshape(height // FINE, FINE, width // FINE, FINE, 3).mean((1, 3))
    # Ink on paper is never quite even.
    paper = noise(rng, small.shape[:2], 3 * size / 1024, octaves=2)
    return small * (1 + 0.012 * ndimage.gaussian_filter(paper, 0.6))[..., None]
