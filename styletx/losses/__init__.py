"""What a picture is measured by. One term a file; `Objective` adds terms up, for a whole picture or for its tiles.

Each loss is relative to its target, so it has no unit: one weight means the same at any picture size, on any layer and
on any network, and the optimiser sees numbers near one.
"""

from styletx.losses.adversarial import Adversarial, Discriminator
from styletx.losses.content import Content, content_loss
from styletx.losses.difference import Difference
from styletx.losses.gatys import MOMENTS, gatys_terms
from styletx.losses.gram import Gram, LocalGram, gram_matrix, gram_statistics, moments, relative_distance, style_loss
from styletx.losses.matching import Matching
from styletx.losses.objective import Objective, Weighted, assembled, layer_terms, parts
from styletx.losses.terms import PIXELS, Part, Placed, Stage, Term, Tile
from styletx.losses.variation import Variation, total_variation_loss

__all__ = [
    "MOMENTS",
    "PIXELS",
    "Adversarial",
    "Content",
    "Difference",
    "Discriminator",
    "Gram",
    "LocalGram",
    "Matching",
    "Objective",
    "Part",
    "Placed",
    "Stage",
    "Term",
    "Tile",
    "Variation",
    "Weighted",
    "assembled",
    "content_loss",
    "gatys_terms",
    "gram_matrix",
    "gram_statistics",
    "layer_terms",
    "moments",
    "parts",
    "relative_distance",
    "style_loss",
    "total_variation_loss",
]
