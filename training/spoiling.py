"""Random variants of a training photo, spoiled in the ways that photos get spoiled between camera and classifier."""

from __future__ import annotations

import math
import random

from PIL import Image

from catdog_hub.corruptions import CORRUPTIONS


def spoil(photo: Image.Image, rng: random.Random) -> Image.Image:
    """Return a random variant of an RGB photo, of another size as a rule.

    Framing first (tilt, crop, mirror), then light and colour, then what happens on the way: blur, a smaller copy,
    compression. Every step has its own probability, so that most variants are spoiled in two or three ways.
    """
    photo = _frame(photo, rng)
    light = rng.random()
    if light < 0.15:
        photo = CORRUPTIONS["darken"](photo, rng.uniform(12, 80))
    elif light < 0.30:
        photo = CORRUPTIONS["brighten"](photo, rng.uniform(120, 300))
    elif light < 0.40:
        photo = CORRUPTIONS["contrast"](photo, rng.uniform(12, 70))
    if rng.random() < 0.15:
        photo = CORRUPTIONS["grey"](photo, rng.choice([100, 100, rng.uniform(30, 100)]))
    if rng.random() < 0.15:
        photo = CORRUPTIONS["blur"](photo, rng.uniform(0.2, 2))
    if rng.random() < 0.40:
        # Log-uniform: halving a small picture matters as much as halving a large one.
        photo = CORRUPTIONS["shrink"](photo, round(math.exp(rng.uniform(math.log(70), math.log(260)))))
    if rng.random() < 0.35:
        photo = CORRUPTIONS["recompress"](photo, rng.uniform(8, 60))
    return photo


def _frame(photo: Image.Image, rng: random.Random) -> Image.Image:
    """Tilt, cut out 30 to 100 % of the area with sides up to 4/3 off the photo's own, and mirror."""
    left, top, width, height = 0, 0, photo.width, photo.height
    if rng.random() < 0.8:
        area = photo.width * photo.height * rng.uniform(0.3, 1)
        proportion = photo.width / photo.height * math.exp(rng.uniform(-math.log(4 / 3), math.log(4 / 3)))
        width = max(1, min(photo.width, round(math.sqrt(area * proportion))))
        height = max(1, min(photo.height, round(math.sqrt(area / proportion))))
        left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
    if rng.random() < 0.3:
        photo = CORRUPTIONS["rotate"](photo, rng.uniform(-45, 45))
    photo = photo.crop((left, top, left + width, top + height))
    return photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else photo
