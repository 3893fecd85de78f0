"""Looks: tested bundles of options under one name."""

from __future__ import annotations

from collections.abc import Mapping

LOOKS: Mapping[str, Mapping[str, float]] = {
    "balanced": {"match": 1.0, "content_weight": 1.0},  # strokes of the painting, and faces of the persons
    "faithful": {"match": 1.0, "content_weight": 4.0},  # small things stay: text, windows, faces in a crowd
    "bold": {"match": 1.0, "content_weight": 0.25},  # the widest strokes; eyes and gables may melt
    "blended": {"match": 0.5, "content_weight": 1.0},  # half way to Gram alone
    "gram": {"match": 0.0, "content_weight": 1.0},  # Gatys et al. 2016: strokes wherever they fit
}
