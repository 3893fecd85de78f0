"""Leaded glass lit from behind: the sun over hills and a river."""

import numpy as np
from scipy import ndimage

from painters.brushes import Array, Generator, grid, lit, mix, noise, ramp, rgb, smoothstep

RINGS = [0.045, 0.105, 0.145, 0.2, 0.265, 0.335, 0.41, 0.49, 0.58]


def design(x: Array, y: Array, scale: float, rng: Generator) -> tuple[Array, Array]:
    """The cartoon: the number of each piece of glass ``[H, W]`` and its colour ``[H, W, 3]``."""
    wave_x, wave_y = (0.008 * noise(rng, x.shape, 150 * scale, octaves=1) for _ in range(2))
    u, v = x + wave_x - 0.375, y + wave_y
    distance, bearing = np.hypot(u, v - 0.33), np.arctan2(v - 0.33, u) / (2 * np.pi)
    ring = np.digitize(distance, RINGS)
    spoke = np.floor(28 * bearing + 1.56 * np.sin(distance * 9)) % 28 // np.where(ring < 4, 2, 1)
    petal = np.floor(12 * bearing + 3 * np.sin(distance * 14)) % 12
    piece = np.where(ring < 2, ring * (1 + petal), 100 + ring * 50 + spoke)
    warm = (ring - 2) / 6 + 0.15 * np.sin(spoke * 2.4 + ring)
    color = ramp(warm, "#ffd84a #ffb01f #f0641e #c8233c #6a2a9a #2340b0")
    color = mix(color, ramp(ring * (0.3 + 0.7 * (petal % 2)), "#fff6c8 #ffe27a #f9b02a"), ring < 2)

    drift_x, drift_y = (noise(rng, x.shape, 110 * scale, octaves=2) for _ in range(2))
    hills = [
        (0.52 + 0.05 * np.sin(6 * u + 1), "#2a3fae #5a4fc8 #3f86d8"),
        (0.60 + 0.06 * np.sin(5 * u + 3.4), "#0f6a7a #1a9a8a #4fc07a"),
        (0.70 + 0.05 * np.sin(6 * u + 5.5), "#1a7a35 #5ab030 #c8d030"),
    ]
    for index, (ridge, colors) in enumerate(hills):
        below = v - ridge
        strip = np.floor(below / 0.055 + 0.16 * drift_y * smoothstep(0, 0.05, below))
        slant = 0.22 * drift_x + 0.3 * np.sin(strip * 2.3) * (below / 0.055 - strip)
        column = np.floor(10 * (u + 0.5) + 3 * below * np.sin(3 * u) + 0.5 * (strip % 2) + slant)
        cell = strip * 37 + column
        piece = np.where(below > 0, 2000 + 500 * index + cell, piece)
        color = mix(color, ramp(0.5 + 0.5 * np.sin(cell * 2.9 + index), colors), below > 0)

    down = np.clip(v - 0.63, 0, 1)
    aside = u - 0.12 * np.sin((v - 0.6) * 11) * (v - 0.3)
    river = (np.abs(aside) < 0.02 + 0.26 * down**1.1) & (down > 0)
    flow = np.floor((v - 0.6 + 0.045 * np.sin(20 * aside)) * 20)
    lane = np.floor(aside / (0.015 + 0.2 * down) + 0.5 * (flow % 2))
    piece = np.where(river, 5000 + flow * 7 + lane, piece)
    blue = ramp(0.5 + 0.5 * np.sin(flow * 2.1 + lane * 1.7), "#1238a0 #1c86d0 #7fd6e6 #e6f0c0")
    color = mix(color, blue, river)

    margin_x, margin_y = np.minimum(x, x.max() - x), np.minimum(y, y.max() - y)
    upright = margin_x < margin_y
    frame = np.minimum(margin_x, margin_y) < 0.04
    block = np.floor(np.where(upright, y, x + 0.125) / 0.0625)
    piece = np.where(frame, 9000 + block + 40 * upright + 100 * (x > 0.375) + 200 * (y > 0.5), piece)
    return piece, mix(color, ramp(block % 3 / 2, "#a01030 #d89a10 #1a2f9a"), frame)


def paint(size: int, rng: Generator) -> Array:
    """The picture ``[H, W, 3]``, ``size`` pixels on its long side."""
    scale, width, height = size / 1024, size * 3 // 4, size
    x, y = grid(width, height)
    piece, color = design(x, y, scale, rng)
    piece = np.unique(piece, return_inverse=True)[1].reshape(x.shape)
    edges = ndimage.grey_dilation(piece, 3) != ndimage.grey_erosion(piece, 3)
    inward = ndimage.distance_transform_edt(~np.pad(edges, 1, constant_values=True))[1:-1, 1:-1] / scale

    # Each piece is cut from a different place of a streaky sheet, at its own angle.
    chance = rng.standard_normal((piece.max() + 1, 3)).astype(np.float32)[piece]
    turn, left, top = chance[..., 0] * 2, x * height + 90 * chance[..., 1], y * height + 90 * chance[..., 2]
    across = top * np.cos(turn) - left * np.sin(turn) + 9 * scale * noise(rng, x.shape, 50 * scale, octaves=2)
    along = left * np.cos(turn) + top * np.sin(turn)
    sheet = noise(rng, (size, size), 150 * scale, 13 * scale)
    streak = ndimage.map_coordinates(sheet, [across, along], order=1, mode="mirror")
    seeds = noise(rng, x.shape, 14 * scale, 9 * scale, 2)
    color = color * (1 + 0.16 * chance[..., :1] + 0.035 * chance)
    color = color * (0.95 + 0.17 * streak + 0.05 * seeds)[..., None]
    color = mix(color, rgb("#fff4d0"), 0.3 * smoothstep(0.5, 2.0, streak) * smoothstep(6, 26, inward))
    halo = 1.18 - 0.35 * smoothstep(0.1, 0.7, np.hypot(x - 0.375, y - 0.33))
    color = color * (halo * (0.5 + 0.5 * smoothstep(2, 15, inward)))[..., None]

    lead = smoothstep(0.6, -0.6, inward - 3.6 - 0.4 * noise(rng, x.shape, 40 * scale))
    round_bar = np.sqrt(np.clip(4.4**2 - inward**2, 0, None)) + 0.4 * noise(rng, x.shape, 8 * scale)
    metal = ramp(0.35 * lit(round_bar * scale, 0.8 / scale), "#08080c #2a2c34 #8a8c92")
    return mix(color, metal, lead)
