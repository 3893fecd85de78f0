"""The networks that compare pictures: from a name, layers and trained weights to a module that returns activations.

`load` does it all. `architecture`, `locate` and `listing` tell what there is without loading it, `fetch` downloads.
"""

from styletx.backbones.classifiers import names as classifier_names
from styletx.backbones.downloads import Progress
from styletx.backbones.loading import BUNDLED, Backbone, architecture, check, load
from styletx.backbones.places import Listed, cache_dir, fetch, listing, locate
from styletx.backbones.receptive import Sight, Span, sights, sizes
from styletx.backbones.registry import ARCHITECTURES, Architecture
from styletx.backbones.vgg import NEXT, VGG
from styletx.backbones.weights import Source

__all__ = [
    "ARCHITECTURES",
    "BUNDLED",
    "NEXT",
    "VGG",
    "Architecture",
    "Backbone",
    "Listed",
    "Progress",
    "Sight",
    "Source",
    "Span",
    "architecture",
    "cache_dir",
    "check",
    "classifier_names",
    "fetch",
    "listing",
    "load",
    "locate",
    "sights",
    "sizes",
]
