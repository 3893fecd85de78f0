"""Transparent washes that pool at their edges: poppies in a meadow."""

import numpy as np

from painters.brushes import Array, Generator, grid, lit, noise, ramp, smoothstep

LEAVES = "#2f6b3a #5f9a3a #a8b83a #2f7f78"
PETALS = ["#f0653a #d8202a", "#f7a23a #e8552a", "#c98ad0 #7a4fb0", "#f4a6b4 #d84f7a"]


class Sheet:
    """Wet paper; ``absorbed`` ``[H, W, 3]`` is how much light its pigment absorbs: log(1 / colour)."""

    def __init__(self, width: int, height: int, rng: Generator):
        self.rng, self.scale = rng, max(width, height) / 1024
        self.x, self.y = (axis * height for axis in grid(width, height))
        self.absorbed = np.zeros((height, width, 3), np.float32)
        self.tooth = noise(rng, (height, width), 5 * self.scale, octaves=2)
        self.wobble = noise(rng, (height, width), 34 * self.scale)
        self.blooms = [noise(rng, (height, width), 110 * self.scale, octaves=4) for _ in range(4)]

    def wash(
        self,
        inside: Array,
        color: Array,
        wet: float,
        *,
        rough: float = 2.2,
        lift: float = 0.0,
        box: tuple[slice, slice] = np.s_[:, :],
    ) -> None:
        """Let a wash dry.

        Args:
            inside: How far each pixel of ``box`` is inside the outline, in pixels; negative outside.
            color: RGB in [0, 1], one or ``[H, W, 3]``.
            wet: How softly the edge runs, in pixels.
            rough: How far the outline wavers, in pixels.
            lift: The share of the paint below that is washed away.
            box: The part of the sheet.
        """
        inside = inside / self.scale + rough * self.wobble[box]
        cover = smoothstep(-wet, wet, inside)
        pool = 0.75 * np.exp(-(((inside - wet) / (1.6 + wet)) ** 2)) if wet < 8 else 0
        flow = 0.3 * self.blooms[self.rng.integers(4)][box]
        amount = cover * np.clip(0.72 + flow + pool + 0.1 * self.tooth[box], 0.08, 2)
        self.absorbed[box] *= 1 - lift * cover[..., None]
        self.absorbed[box] -= np.log(np.clip(color, 0.02, 1)) * amount[..., None]

    def blot(
        self,
        center: tuple[float, float],
        long: float,
        thin: float,
        tilt: float,
        color: Array,
        *,
        wet: float = 1.4,
        lift: float = 0.5,
    ) -> None:
        """A leaf, petal or drop: an ellipse with half axes ``long`` and ``thin``, in pixels."""
        reach = max(long, thin) * 1.3 + 8
        rows, columns = (slice(max(int(c - reach), 0), max(int(c + reach), 0)) for c in center[::-1])
        dx, dy = self.x[rows, columns] - center[0], self.y[rows, columns] - center[1]
        along, across = dx * np.cos(tilt) + dy * np.sin(tilt), dy * np.cos(tilt) - dx * np.sin(tilt)
        small = min(long, thin)
        inside = (1 - np.hypot(along / long, across / thin)) * small
        rough = min(2.2, 0.16 * small / self.scale)
        self.wash(inside, color, wet, rough=rough, lift=lift, box=(rows, columns))

    def dried(self) -> Array:
        """The picture ``[H, W, 3]``."""
        paper = ramp(0.5 + 0.1 * self.tooth, "#f2ead8 #fbf7ec #fffdf6")
        light = lit(self.tooth * self.scale, 0.035 / self.scale)[..., None]
        return paper * np.exp(-0.62 * self.absorbed) * light


def background(sheet: Sheet) -> None:
    """Sky, clouds, three ranges of hills and the meadow's ground."""
    x, y = sheet.x / len(sheet.x), sheet.y / len(sheet.y)
    blooms, height = sheet.blooms, len(sheet.y)
    sheet.wash((0.5 - y) * height, ramp(0.5 + 0.3 * blooms[0], "#7fb4d8 #b8cfe0 #f0d8c8 #f6e3b4"), 70)
    for bloom, color in zip(blooms[1:], ["#8fb8dc", "#e8b8a8"], strict=False):
        cloud = np.minimum(bloom - 0.9, (0.26 - y) * 9) * 60 * sheet.scale
        sheet.wash(cloud, ramp(0.45, f"{color} #ffffff"), 3)
    for ridge, color in [(0.36, "#9aa6cf"), (0.43, "#7fae9c"), (0.5, "#8fb765")]:
        below = y - ridge - 0.03 * np.sin(5 * x + 20 * ridge) - 0.01 * blooms[1]
        sheet.wash(below * height, ramp(0.3, f"{color} #ffffff"), 2)
    ground = ramp(0.5 + 0.3 * blooms[3], "#5f9a4a #b4bf52 #4f8f7a")
    sheet.wash((y - 0.62 + 0.05 * blooms[2]) * height, ground, 40)


def paint(size: int, rng: Generator) -> Array:
    """The picture ``[H, W, 3]``, ``size`` pixels on its long side."""
    scale, width, height = size / 1024, size, size * 3 // 4
    sheet = Sheet(width, height, rng)
    background(sheet)
    for near in np.sort(rng.uniform(0.08, 1, 300)):
        long, thin = rng.uniform(40, 130) * near * scale, (rng.uniform(3, 9) * near + 1.5) * scale
        center = rng.uniform(0, width), (0.5 + 0.56 * near) * height - 0.6 * long
        sheet.blot(center, long, thin, rng.normal(-np.pi / 2, 0.35), ramp(rng.random(), LEAVES))
    for near in np.sort(rng.uniform(0.05, 1, 95)):
        x, y = rng.uniform(0, width), (0.47 + 0.46 * near + rng.normal(0, 0.03)) * height
        radius = (10 + 52 * near) * scale * rng.uniform(0.75, 1.15)
        colors = PETALS[rng.choice(4, p=[0.5, 0.25, 0.13, 0.12])]
        turn = rng.uniform(0, 2 * np.pi)
        # Every second petal in turn: painted in order, their overlaps would form a spiral.
        for bearing in turn + 0.8 * np.pi * np.arange(5) + rng.normal(0, 0.15, 5):
            center = x + 0.5 * radius * np.cos(bearing), y + 0.36 * radius * np.sin(bearing)
            petal = ramp(rng.random(), colors)
            sheet.blot(center, radius * 0.62, radius * 0.5, bearing, petal, lift=0.72)
        sheet.blot((x, y), radius * 0.2, radius * 0.17, 0, ramp(rng.random(), "#e0b83a #b89a4a"), wet=6)
    for _ in range(40):
        drop, center = (
            (rng.exponential(2.6) + 1.5) * scale,
            (rng.uniform(0, width), rng.uniform(0.1, 1) * height),
        )
        sheet.blot(center, drop, drop, 0, ramp(rng.random(), "#d8202a #f7a23a #4f8f7a #4f6fb8"))
    return sheet.dried()
