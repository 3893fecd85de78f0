"""Training a network for one style: photographs in, a model file out."""

from styletx.feedforward.training.loop import Training, TrainingStep

__all__ = ["Training", "TrainingStep"]
