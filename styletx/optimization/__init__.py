"""The first method: a picture's own pixels are optimised, coarse to fine."""

from styletx.optimization.loop import COARSE_ITERATIONS, Objective, Step, coarse_to_fine, optimize
from styletx.optimization.optimizers import LBFGS, OPTIMIZERS, Adam, toned
from styletx.optimization.pyramid import pyramid_sizes
from styletx.optimization.tiling import stages, tiles

__all__ = [
    "COARSE_ITERATIONS",
    "LBFGS",
    "OPTIMIZERS",
    "Adam",
    "Objective",
    "Step",
    "coarse_to_fine",
    "optimize",
    "pyramid_sizes",
    "stages",
    "tiles",
    "toned",
]
