"""A small, fast image classifier that shows its evidence: `catdog_hub.load().predict("photo.jpg")`."""

from catdog_hub.classifier import Classifier, load
from catdog_hub.errors import (
    CatdogError,
    ImageError,
    MissingDependencyError,
    NewerFormatError,
    ReleaseError,
    SourceError,
    StageError,
)
from catdog_hub.prediction import Prediction

__version__ = "0.1.0"

__all__ = [
    "CatdogError",
    "Classifier",
    "ImageError",
    "MissingDependencyError",
    "NewerFormatError",
    "Prediction",
    "ReleaseError",
    "SourceError",
    "StageError",
    "__version__",
    "load",
]
