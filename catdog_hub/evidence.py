"""Draw a stage's evidence over the photo.

The evidence is exact: every head is linear after its last feature map, so that the difference of two logits is
the sum of one number per map position (see docs/architecture.md). It is drawn as it is; only its scale is chosen.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# Okabe and Ito's orange and blue, which people with any kind of colour vision tell apart
# (https://jfly.uni-koeln.de/color/). The order is that of the labels.
CLASS_COLORS = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442")


def class_color(index: int) -> str:
    """Return the colour of the class with this index, as `#RRGGBB`."""
    return CLASS_COLORS[index % len(CLASS_COLORS)]


def overlay(
    photo: Image.Image,
    evidence: np.ndarray,
    *,
    positive: str = CLASS_COLORS[0],
    negative: str = CLASS_COLORS[1],
    strength: float = 0.7,
    scale: float | None = None,
) -> Image.Image:
    """Blend signed evidence over a photo.

    Args:
        photo: RGB picture of any size.
        evidence: Float array of shape (rows, columns), which covers the whole photo.
        positive: Colour, `#RRGGBB`, of evidence above zero.
        negative: Colour of evidence below zero.
        strength: Opacity of the strongest evidence, 0 (none) to 1.
        scale: Value of the evidence that is drawn at full strength; default: its 99th percentile of magnitude.
            Give the same scale for pictures that are to be compared.

    Returns:
        An RGB picture of the photo's size.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie in 0..1; received {strength}.")
    layer = tint(evidence, photo.size, positive=positive, negative=negative, scale=scale)
    opacity = layer.getchannel("A").point(lambda alpha: round(alpha * strength))
    return Image.composite(layer.convert("RGB"), photo, opacity)


def tint(
    evidence: np.ndarray,
    size: tuple[int, int],
    *,
    positive: str = CLASS_COLORS[0],
    negative: str = CLASS_COLORS[1],
    scale: float | None = None,
) -> Image.Image:
    """Draw signed evidence as a transparent layer: to be laid over a photo at any strength.

    Args:
        evidence: Float array of shape (rows, columns).
        size: Width and height of the layer in pixels.
        positive: Colour, `#RRGGBB`, of evidence above zero.
        negative: Colour of evidence below zero.
        scale: Value of the evidence that is drawn opaque; default: its 99th percentile of magnitude.

    Returns:
        An RGBA picture of that size, opaque where the evidence is strongest and transparent where there is none.
        Maps with very many cells are drawn coarser, see `coarsen`.
    """
    evidence = coarsen(evidence)
    if scale is None:
        scale = float(np.percentile(np.abs(evidence), 99))
    relative = np.clip(evidence / scale if scale > 0 else np.zeros_like(evidence), -1, 1).astype(np.float32)
    smooth = np.asarray(Image.fromarray(relative).resize(size, Image.Resampling.BICUBIC))
    layer = Image.new("RGB", size, negative)
    layer.paste(positive, mask=Image.fromarray(np.where(smooth > 0, 255, 0).astype(np.uint8)))
    layer.putalpha(Image.fromarray((np.clip(np.abs(smooth), 0, 1) * 255).astype(np.uint8)))
    return layer


def coarsen(evidence: np.ndarray, most: int = 24) -> np.ndarray:
    """Add up neighbouring cells until there are at most `most` rows and columns; the sum stays the same.

    Early feature maps have thousands of cells, most of them empty, that are too small to be seen.
    """
    for axis, length in enumerate(evidence.shape):
        if length > most:
            starts = np.arange(most) * length // most
            evidence = np.add.reduceat(evidence, starts, axis=axis)
    return evidence
