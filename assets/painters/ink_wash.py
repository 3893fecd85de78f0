"""Black ink on damp paper: mountains in mist, a pine and a vermilion seal."""

import numpy as np
from scipy import ndimage

from painters.brushes import Array, Canvas, Generator, grid, mix, noise, ramp, rgb, scatter, smoothstep

# Far to near: foot, height, ink strength, phase.
RANGES = [(0.30, 0.16, 0.35, 0.4), (0.42, 0.2, 0.55, 2.1), (0.56, 0.2, 0.8, 3.9), (0.74, 0.12, 1.2, 5.6)]


def bent(start: Array, bearing: Array, length: float) -> Array:
    """The path ``[N, 2]`` from ``start``, of the given length, whose bearing at each step is ``bearing`` ``[N]``."""
    return start + np.cumsum(np.stack([np.cos(bearing), np.sin(bearing)], -1), 0) * length / len(bearing)


def mist(canvas: Canvas, rng: Generator, scale: float) -> None:
    """Sweep a wide, nearly dry brush across the whole sheet."""
    height, width = canvas.relief.shape
    for start in scatter(rng, width, height, 80 * scale):
        reach, sag = rng.uniform(60, 170) * scale, rng.normal(0, 6) * scale
        sweep = start + np.stack([np.linspace(-reach, reach, 15), sag * np.linspace(-1, 1, 15) ** 2], -1)
        brush, shade = rng.uniform(18, 50) * scale, rng.uniform(0.72, 0.9)
        canvas.stroke(sweep, brush, shade, dry=rng.uniform(0.75, 0.95), opacity=0.6)


def rocks(canvas: Canvas, crest: Array, ink: float, rng: Generator, scale: float) -> None:
    """Split-brush strokes that fall away from the ``crest`` ``[W]`` (pixels from the top) on both sides."""
    slope = np.gradient(ndimage.gaussian_filter1d(crest, 8 * scale))
    for _ in range(int(190 * ink)):
        column = rng.integers(len(crest))
        start = np.array([column, crest[column] + (rng.exponential(22) + 4) * scale])
        fall = -np.clip(slope[column], -1.5, 1.5) * 0.5 + (0.6 if slope[column] < 0 else -0.6)
        bearing = np.pi / 2 + fall + rng.normal(0, 0.25) + np.cumsum(rng.normal(0, 0.1, 9))
        path = bent(start, bearing, rng.uniform(25, 95) * scale)
        shade = 1 - rng.uniform(0.5, 1) * min(1, ink * 0.75)
        dry = rng.uniform(0.7, 0.98)
        canvas.stroke(path, rng.uniform(6, 20) * scale, shade, dry=dry, taper=0.3, opacity=0.8)


def water(canvas: Canvas, rng: Generator, scale: float) -> None:
    """Long ripples along the bottom of the sheet."""
    height, width = canvas.relief.shape
    for _ in range(70):
        start = np.array([rng.uniform(0, width), rng.uniform(0.83, 0.99) * height])
        reach = np.linspace(0, rng.uniform(60, 220) * scale, 12)
        path = start + np.stack([reach, 3 * scale * np.sin(np.linspace(0, 6, 12))], -1)
        canvas.stroke(path, rng.uniform(3, 8) * scale, rng.uniform(0.35, 0.75), dry=0.75, taper=0.7)


def pine(
    canvas: Canvas, rng: Generator, scale: float, start: Array, heading: float, length: float, brush: float
) -> None:
    """A crooked branch with its twigs; the thinnest bear fans of needles."""
    crooked = 0.1 if brush > 20 * scale else 0.2
    bearing = heading + ndimage.gaussian_filter1d(np.cumsum(rng.normal(0, crooked, 30)), 2)
    path = bent(start, bearing, length)
    canvas.stroke(path, brush, rng.uniform(0.0, 0.3), dry=rng.uniform(0.3, 0.6), taper=0.3)
    if brush > 5 * scale:
        for place, side in [(9, 1), (15, -1), (21, 1), (28, -1)]:
            turn = side * (rng.uniform(0.5, 1.1) if place < 28 else 0.2)
            hangs = np.sin(bearing[place] + turn) > 0.35
            twig = bearing[place] + (-turn if hangs else turn)
            pine(canvas, rng, scale, path[place], twig, length * rng.uniform(0.4, 0.62), brush * 0.5)
        return
    for tip in path[5::6]:
        shade, spread = rng.uniform(0, 0.5), rng.uniform(11, 24) * scale
        for bearing in np.linspace(-0.98 * np.pi, -0.02, 13) + rng.normal(0, 0.08, 13):
            reach = rng.uniform(0.7, 1.2) * spread * np.array([np.cos(bearing), 0.8 * np.sin(bearing)])
            needle = tip + np.linspace(0, 1, 5)[:, None] * reach
            canvas.stroke(needle, 2.2 * scale, shade + rng.uniform(0, 0.25), taper=0.5)


def seal(x: Array, y: Array) -> Array:
    """A square stamp, as a mask: three columns of characters are left blank."""
    across, down = (x - 0.66) / 0.055, (y - 0.9) / 0.055
    column = np.floor(across * 3)
    inner = (np.abs(across - 0.5) < 0.4) & (np.abs(down - 0.625) < 0.525)
    upright = np.abs(across * 3 % 1 - 0.5) < 0.17
    broken = np.abs((down * 4.2 + column * 0.4) % 1 - 0.5) < 0.38
    return (np.abs(across - 0.5) < 0.5) & (np.abs(down - 0.625) < 0.625) & ~(inner & upright & broken)


def paint(size: int, rng: Generator) -> Array:
    """The picture ``[H, W, 3]``, ``size`` pixels on its long side."""
    scale, width, height = size / 1024, size * 3 // 4, size
    x, y = grid(width, height)
    fibre = noise(rng, x.shape, 14 * scale, 4 * scale) + noise(rng, x.shape, 4 * scale, octaves=2)
    cloud = noise(rng, x.shape, 200 * scale, 120 * scale)
    canvas = Canvas(x.shape, "#ffffff", rng, scale)
    mist(canvas, rng, scale)
    wet = 0.06 + 0.05 * cloud + 0.16 * smoothstep(0.3, 0, y) * (1 + 0.4 * cloud)
    for foot, rise, ink, phase in RANGES:
        rough = noise(rng, (1, width), 150 * scale, octaves=5)
        crest = foot - rise * (0.5 + 0.5 * np.sin(x[:1] * 7 + phase)) ** 2 - 0.02 * rough
        below = y - crest + 0.004 * noise(rng, x.shape, 24 * scale)
        fade = np.exp(-np.clip(below, 0, 1) / np.clip(0.12 + 0.04 * cloud, 0.04, 1))
        fade = fade * (0.8 + 0.22 * noise(rng, x.shape, 60 * scale, 110 * scale))
        edge = np.exp(-((below / 0.004 - 1) ** 2)) * (0.5 + 0.3 * noise(rng, x.shape, 90 * scale))
        wet = wet * (1 - 0.85 * smoothstep(0, 0.02, below))
        wet += ink * (0.85 * fade * smoothstep(-0.002, 0.006, below) + 0.3 * np.clip(edge, 0, 1))
        rocks(canvas, crest[0] * height, ink, rng, scale)
    water(canvas, rng, scale)
    pine(canvas, rng, scale, np.array([-0.02, 1.03]) * height, -0.85, 0.62 * height, 27 * scale)
    ink = 1 - (1 - np.clip(wet, 0, 1.2) / 1.3) * canvas.color[..., 0].clip(0, 1)
    color = ramp(ink * (1 + 0.05 * fibre) + 0.012 * fibre, "#f5ebd3 #cec4ae #8d8a82 #4d4e50 #1b1c21")
    sun = smoothstep(0.056, 0.05, np.hypot(x - 0.55, y - 0.13) + 0.0015 * noise(rng, x.shape, 50 * scale))
    color = mix(color, color * rgb("#d9472b"), sun * (0.8 + 0.1 * cloud + 0.05 * fibre))
    stamp = ndimage.gaussian_filter(seal(x, y).astype(np.float32), 0.8 * scale)
    color = mix(color, rgb("#b5261c"), stamp * np.clip(0.85 + 0.1 * fibre, 0, 1))
    return color * (1 + 0.018 * fibre)[..., None]
