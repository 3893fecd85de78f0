"""Dots of nearly pure colour: poplars by a river at evening."""

import numpy as np
from scipy import ndimage

from painters.brushes import Array, Canvas, Generator, grid, lit, mix, noise, ramp, rgb, sample, scatter

PIGMENTS = "#d6286b #f26a1b #ffd21f #3fa535 #1c8fb0 #2b3fae #6a2f9a"
POPLARS = [
    (0.1, 0.06, 0.07),
    (0.25, 0.13, 0.06),
    (0.385, 0.2, 0.05),
    (0.5, 0.27, 0.042),
    (0.59, 0.33, 0.03),
    (1.25, 0.18, 0.09),
]


def scene(x: Array, y: Array, scale: float, rng: Generator) -> tuple[Array, Array]:
    """What is painted ``[H, W, 3]`` and where there is water ``[H, W]``."""
    below = y > 0.56
    level = np.where(below, 1.12 - y + 0.006 * np.sin(y * 190 + 6 * np.sin(9 * x)), y)
    sun = np.hypot(x - 0.9, level - 0.38)
    picture = ramp(
        level / 0.56 + 0.05 * noise(rng, x.shape, 140 * scale, 40 * scale),
        "#3b62b8 #6f9fd6 #c6b7d8 #f7c59a #fbdc86",
    )
    picture = mix(picture, ramp(1 - sun, "#f08a4b #fdd66b #fff6c8"), np.exp(-((sun / 0.2) ** 2)))
    bank = 0.5 + 0.018 * np.sin(7 * x) + 0.012 * np.sin(17 * x)
    picture = mix(picture, ramp((level - bank) / 0.06, "#6f66a8 #4c8a70 #2f6b4b"), level > bank)
    for center, top, spread in POPLARS:
        part = np.clip((level - top) / (0.54 - top), 0, 1)
        crown = spread * np.sqrt(np.sin(np.pi * (part * 0.93) ** 0.8))
        shade = 0.5 + (x - center) / spread * 0.4 + 0.14 * noise(rng, x.shape, 34 * scale)
        leaves = np.abs(x - center) < crown * (1 + 0.12 * noise(rng, x.shape, 26 * scale))
        trunk = (np.abs(x - center) < 0.008) & (part > 0.3)
        picture = mix(
            picture, ramp(shade, "#1d2f63 #1f5a57 #4f9a43 #c5c23e #f6b13c"), (leaves | trunk) & (level < 0.55)
        )
    picture = np.where(below[..., None], picture * [0.8, 0.86, 0.98] + 0.02, picture)
    meadow = y - 0.83 - 0.06 * np.sin(3 * x + 2.6)
    grass = ramp(
        meadow * 3 + 0.22 * noise(rng, x.shape, 60 * scale, 24 * scale) + 0.2,
        "#274f7d #2f8a5a #83b83f #e2d04a",
    )
    flowers = ramp(noise(rng, x.shape, 80 * scale) / 4 + 0.5, "#d8356a #f0662f #f7ecd0")
    grass = mix(grass, flowers, noise(rng, x.shape, 30 * scale, 16 * scale) > 1.15)
    return mix(picture, grass, meadow > 0), below & (meadow < 0)


def paint(size: int, rng: Generator) -> Array:
    """The picture ``[H, W, 3]``, ``size`` pixels on its long side."""
    scale, width, height = size / 1024, size, size * 3 // 4
    picture, water = scene(*grid(width, height), scale, rng)
    pigments = np.stack([rgb(color) for color in PIGMENTS.split()])
    canvas = Canvas(water.shape, "#d9c7a3", rng, scale)
    for dot in (15 * scale, 11 * scale, 8.7 * scale):
        for start in scatter(rng, width, height, dot * 0.92):
            wanted = sample(picture, start)
            weight = np.exp(-6 * ((pigments - wanted) ** 2).sum(-1))
            pure = pigments[rng.choice(len(pigments), p=weight / weight.sum())]
            color = wanted + (pure - wanted) * rng.choice([0.08, 0.3, 0.55], p=[0.5, 0.3, 0.2])
            color = color * (1 + 0.1 * rng.standard_normal())
            still = sample(water, start)
            tilt = 0.0 if still else rng.uniform(0, np.pi)
            reach = dot * (0.55 if still else 0.18) * np.array([np.cos(tilt), np.sin(tilt)])
            canvas.stroke(np.stack([start - reach, start, start + reach]), dot * rng.uniform(0.7, 1), color)
    light = lit(ndimage.gaussian_filter(canvas.relief, 0.8 * scale), 0.35 / scale**0.5)
    return canvas.color * light[..., None]
