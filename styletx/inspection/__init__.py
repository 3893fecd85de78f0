"""Looking inside the networks: tables of layers, and pictures and plots of what they see.

`table` and `stacks` count parameters and operations, without weights. `feature_maps`, `gram`, `invert` and `texture`
look at a picture with a network that `styletx.backbones.load` returns. `train_trunks` shows what skip connections do.
`sheet`, `heat_map` and `learning` draw plots.
"""

from styletx.inspection.pictures import feature_maps, gram, invert, texture, texture_layers
from styletx.inspection.plots import check, heat_map, learning, sheet
from styletx.inspection.residual import Trunk, TrunkStep, train_trunks, trunks
from styletx.inspection.tables import SIDE, Layer, Stack, Table, stacks, table

__all__ = [
    "SIDE",
    "Layer",
    "Stack",
    "Table",
    "Trunk",
    "TrunkStep",
    "check",
    "feature_maps",
    "gram",
    "heat_map",
    "invert",
    "learning",
    "sheet",
    "stacks",
    "table",
    "texture",
    "texture_layers",
    "train_trunks",
    "trunks",
]
