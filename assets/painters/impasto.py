"""Oil applied with a loaded brush: a swirling night sky over orange fields."""

import numpy as np
from scipy import ndimage

from painters.brushes import (
    Array,
    Canvas,
    Generator,
    angle_along,
    follow,
    grid,
    lit,
    mix,
    noise,
    ramp,
    sample,
    scatter,
    smoothstep,
)

LIGHTS = [(1.08, 0.17, 0.17), (0.36, 0.19, 0.12), (0.72, 0.36, 0.13), (0.08, 0.42, 0.07), (0.66, 0.08, 0.06)]
CYPRESSES = [(0.2, 0.2, 0.075), (0.29, 0.42, 0.045)]


def sky(x: Array, y: Array, scale: float, rng: Generator) -> tuple[Array, Array]:
    """The sky ``[H, W, 3]`` and the direction of its strokes ``[H, W]``: wind that swirls around every light."""
    wind = y + 0.06 * np.sin(5 * x + 1) + 0.05 * noise(rng, x.shape, 260 * scale)
    glow = np.zeros_like(x)
    for center_x, center_y, radius in LIGHTS:
        distance = np.hypot(x - center_x, (y - center_y) * 1.1) / radius
        wind += 4 * radius * np.exp(-((distance / 1.1) ** 2))
        glow = np.maximum(glow, np.exp(-((distance / 0.62) ** 2)) * min(1, radius * 8))
    bands = 0.5 + 0.5 * np.sin(wind * 34 + 0.5 * noise(rng, x.shape, 70 * scale))
    picture = ramp(bands * 0.75 + 0.25 * y, "#0a1440 #14307e #1f5bb0 #4a93c4 #a9cfc4")
    gold = ramp(glow, "#3f7fb0 #8fc0a8 #f3d34a #ffb52e #fff2b0")
    return mix(picture, gold, smoothstep(0.1, 0.45, glow)), angle_along(wind)


def scene(width: int, height: int, scale: float, rng: Generator) -> tuple[Array, Array]:
    """What is painted ``[H, W, 3]`` and the direction of the strokes ``[H, W]``."""
    x, y = grid(width, height)
    picture, angle = sky(x, y, scale, rng)
    slopes = [
        (0.56 + 0.05 * np.sin(4.2 * x + 2) + 0.02 * np.sin(11 * x), "#1b2a6b #3b4fa0 #7d7fc0"),
        (0.63 + 0.05 * np.sin(3.1 * x + 4.4) + 0.012 * np.sin(13 * x), "#12443f #2e7a5b #8fb04e"),
    ]
    for ridge, colors in slopes:
        below = y - ridge
        shade = 0.5 + 0.32 * np.sin(26 * (below * 3 + 0.35 * x)) + 0.16 * noise(rng, x.shape, 40 * scale)
        heading = np.arctan2(np.gradient(ridge, axis=1), 1 / height) + 0.4 * np.sin(9 * x)
        picture, angle = mix(picture, ramp(shade, colors), below > 0), np.where(below > 0, heading, angle)
    below = y - 0.71 - 0.03 * np.sin(2.3 * x + 1)
    furrow = np.arctan2(below + 0.06, (x - 0.55) * 0.9)
    shade = 0.5 + 0.32 * np.sin(furrow * 26) + 0.16 * noise(rng, x.shape, 40 * scale)
    picture = mix(picture, ramp(shade, "#a8410f #e0801a #f6bf3c #ffe38a"), below > 0)
    angle = np.where(below > 0, furrow, angle)
    for center, top, spread in CYPRESSES:
        lean = x - center - 0.012 * np.sin(y * 22)
        rise = np.clip((y - top) / (0.93 - top), 0, 1)
        tree = (np.abs(lean) < spread * rise**0.7 * (1 + 0.18 * np.sin(y * 47 + 9 * x))) & (y < 0.93)
        shade = 0.4 + 0.3 * np.sin(lean * 140 + 3 * np.sin(y * 20)) + 0.2 * noise(rng, x.shape, 30 * scale)
        picture = mix(picture, ramp(shade, "#08160f #143a24 #3d5f24 #9a7b26"), tree)
        angle = np.where(tree, np.pi / 2 + 0.5 * np.sin(y * 22) - lean * 4, angle)
    return picture, angle


def paint(size: int, rng: Generator) -> Array:
    """The picture ``[H, W, 3]``, ``size`` pixels on its long side."""
    scale, width, height = size / 1024, size, size * 3 // 4
    picture, angle = scene(width, height, scale, rng)
    detail = ndimage.gaussian_gradient_magnitude(picture.mean(-1), 3 * scale)
    detail /= np.percentile(detail, 95)
    canvas = Canvas(angle.shape, "#7a3b1c", rng, scale)
    # Coarse brushes cover everything; finer ones work mainly where there is detail.
    for brush, share in [(36 * scale, 1.0), (21 * scale, 1.0), (13 * scale, 0.75), (8 * scale, 0.32)]:
        blurred = ndimage.gaussian_filter(picture, (brush / 4, brush / 4, 0))
        for start in scatter(rng, width, height, brush * 1.05):
            if rng.random() > share + 0.5 * sample(detail, start):
                continue
            color = sample(blurred, start) * (1 + 0.13 * rng.standard_normal())
            color = color + 0.035 * rng.standard_normal(3)
            if rng.random() < 0.05:
                color = 0.55 * color + 0.45 * np.roll(color, 2)
            path = follow(angle, start, brush * rng.uniform(3, 5.5), brush / 2.5)
            canvas.stroke(path, brush * rng.uniform(0.8, 1.15), color, dry=rng.uniform(0, 0.5), taper=0.35)
    light = lit(ndimage.gaussian_filter(canvas.relief, 0.7 * scale), 1.1 / scale**0.5)[..., None]
    return canvas.color * light + 0.35 * np.clip(light - 1.25, 0, 1)
