"""How much a picture resembles the training pictures, to say "neither" to what resembles none of them.

A classifier must choose among its classes, and its confidence says little about whether that choice makes sense. So a
stage can carry a small model of what its training pictures look like: directions that matter in the space of its
pooled backbone features, and prototypes: where training photos lie along them. A picture's score is the cosine-like
similarity to the nearest prototype. That is nearest-neighbour detection (Sun et al. 2022,
https://arxiv.org/abs/2204.06507) in a small part of the space. Labels play no part, so any number of classes will do.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np

from catdog_hub.errors import ReleaseError

ACCEPTED = 0.5  # familiarity from which on a picture counts as one of the classes


@dataclass(frozen=True)
class Familiarity:
    """A fitted model of the training pictures.

    Attributes:
        projection: Shape (features, dimensions), orthonormal columns.
        prototypes: Shape (prototypes, dimensions), unit rows.
        threshold: Score below which a picture is turned away.
        scale: Score difference that moves familiarity from 0.5 to 0.73 (the unit of a logistic curve).
    """

    projection: np.ndarray
    prototypes: np.ndarray
    threshold: float
    scale: float

    def score(self, features: np.ndarray) -> np.ndarray:
        """Return the similarity to the nearest prototype, in -1..1.

        The projected features are not normalised again: what lies outside the projection lowers the score.

        Args:
            features: Pooled backbone features, shape (..., features), not all zero.
        """
        unit = features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)
        return (unit.astype(np.float32) @ self.projection @ self.prototypes.T).max(axis=-1)

    def __call__(self, features: np.ndarray) -> float:
        """Return the familiarity of one picture, 0..1; `ACCEPTED` is at the threshold."""
        return float(1 / (1 + np.exp(-(float(self.score(features)) - self.threshold) / self.scale)))

    def to_bytes(self) -> bytes:
        """Return the content of the file that ships: an `.npz` with float16 arrays."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            projection=self.projection.astype(np.float16),
            prototypes=self.prototypes.astype(np.float16),
            threshold=np.float32(self.threshold),
            scale=np.float32(self.scale),
        )
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Familiarity:
        """Read the file that ships. No pickle is ever loaded.

        Raises:
            ReleaseError: The content is not such a file.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return cls(
                    projection=arrays["projection"].astype(np.float32),
                    prototypes=arrays["prototypes"].astype(np.float32),
                    threshold=float(arrays["threshold"]),
                    scale=float(arrays["scale"]),
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ReleaseError(f"The familiarity file of the release cannot be read: {error}.") from error
