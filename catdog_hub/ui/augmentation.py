"""What augmentation does to a picture: the same flips and rotations as in training, drawn with Pillow alone."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageOps

# Training rotates by up to this share of a full turn, either way.
MAX_TURN = 0.2


def variants(photo: Image.Image, number: int, *, side: int = 160, seed: int = 0) -> list[Image.Image]:
    """Return `number` random variants of a photo, square as the model sees them."""
    rng = random.Random(seed)
    square = photo.resize((side, side), Image.Resampling.BILINEAR)
    result = []
    for _ in range(number):
        variant = ImageOps.mirror(square) if rng.random() < 0.5 else square
        variant = ImageOps.flip(variant) if rng.random() < 0.5 else variant
        result.append(rotate_reflecting(variant, 360 * rng.uniform(-MAX_TURN, MAX_TURN)))
    return result


def rotate_reflecting(image: Image.Image, degrees: float) -> Image.Image:
    """Rotate and fill the corners with the picture's mirror image, as Keras' RandomRotation does by default."""
    width, height = image.size
    padded = np.pad(np.asarray(image), ((height // 2,) * 2, (width // 2,) * 2, (0, 0)), mode="symmetric")
    turned = Image.fromarray(padded).rotate(degrees, resample=Image.Resampling.BILINEAR)
    left, top = width // 2, height // 2
    return turned.crop((left, top, left + width, top + height))
