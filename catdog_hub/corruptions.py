"""Ways to spoil a picture, to see when a classifier starts to err.

The same functions serve the app's sliders ("try to fool it") and the robustness
part of the evaluation, so a figure in the model card can be checked by hand. All
are deterministic, need only Pillow, take any image and return a new RGB image.

    >>> CORRUPTIONS["rotate"](image, 30)

A severity is a plain physical value in the corruption's own unit (pixels,
degrees, per cent), not a level from 1 to 5. `neutral` changes nothing.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from PIL import Image, ImageEnhance, ImageFilter

__all__ = ["CORRUPTIONS", "Corruption", "apply_all"]


@dataclass(frozen=True)
class Corruption:
    """One way to spoil a picture, with what a slider and a report need to know.

    Attributes:
        name: Key in `CORRUPTIONS`, also used in reports.
        title: What to call it on screen.
        unit: Unit of the severity, as a slider's label.
        low: Smallest severity allowed.
        high: Largest severity allowed.
        neutral: The severity that leaves the picture as it is. Pictures smaller
            than the neutral size of `shrink` are never enlarged.
        severities: Three default severities for a report, mild to strong.
        function: RGB image and severity to RGB image, without checks.
    """

    name: str
    title: str
    unit: str
    low: float
    high: float
    neutral: float
    severities: tuple[float, float, float]
    function: Callable[[Image.Image, float], Image.Image] = field(repr=False)

    def __call__(self, image: Image.Image, severity: float) -> Image.Image:
        """Return a spoilt copy of `image`.

        Args:
            image: Any Pillow image; it is converted to RGB and left unchanged.
            severity: Value between `low` and `high`, in `unit`.

        Returns:
            A new RGB image, possibly of another size.

        Raises:
            ValueError: If `severity` lies outside `low` to `high`.
        """
        if not self.low <= severity <= self.high:
            message = (
                f"Severity of {self.name!r} must lie between {self.low:g} and {self.high:g} "
                f"({self.unit}). Received: {severity!r}"
            )
            raise ValueError(message)
        rgb = image.convert("RGB")
        return rgb if severity == self.neutral else self.function(rgb, severity)


def apply_all(image: Image.Image, severities: Mapping[str, float]) -> Image.Image:
    """Apply several corruptions, one after the other, in the order of `CORRUPTIONS`.

    Args:
        image: Any Pillow image.
        severities: Severity by name of the corruption; a missing name is neutral.

    Returns:
        A new RGB image.

    Raises:
        ValueError: If a name is unknown or a severity out of range.
    """
    unknown = sorted(set(severities) - set(CORRUPTIONS))
    if unknown:
        message = f"Unknown corruptions {unknown}. Known: {', '.join(CORRUPTIONS)}"
        raise ValueError(message)
    spoilt = image.convert("RGB")
    for name, corruption in CORRUPTIONS.items():
        spoilt = corruption(spoilt, severities.get(name, corruption.neutral))
    return spoilt


def _rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Turn counter-clockwise about the centre; the frame stays, corners are black."""
    return image.rotate(degrees, resample=Image.Resampling.BICUBIC)


def _crop(image: Image.Image, percent: float) -> Image.Image:
    """Keep the central part with this share of the area and the same proportions."""
    side = (percent / 100) ** 0.5
    width, height = _at_least_one(image.width * side, image.height * side)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _squash(image: Image.Image, factor: float) -> Image.Image:
    """Multiply width / height by `factor`, by shrinking one of the two."""
    if factor < 1:
        size = _at_least_one(image.width * factor, image.height)
    else:
        size = _at_least_one(image.width, image.height / factor)
    return image.resize(size, Image.Resampling.BICUBIC)


def _shrink(image: Image.Image, longest: float) -> Image.Image:
    """Scale down so that the longer side measures `longest` pixels."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    size = _at_least_one(image.width * scale, image.height * scale)
    return image.resize(size, Image.Resampling.BICUBIC)


def _blur(image: Image.Image, percent: float) -> Image.Image:
    """Gaussian blur, relative to the picture's size so that large photos blur alike."""
    return image.filter(ImageFilter.GaussianBlur(max(image.size) * percent / 100))


def _light(image: Image.Image, percent: float) -> Image.Image:
    """Multiply all pixels; bright ones clip at white, as in an overexposed photo."""
    return ImageEnhance.Brightness(image).enhance(percent / 100)


def _contrast(image: Image.Image, percent: float) -> Image.Image:
    """Draw all pixels towards the picture's mean grey."""
    return ImageEnhance.Contrast(image).enhance(percent / 100)


def _grey(image: Image.Image, percent: float) -> Image.Image:
    """Remove this share of the colour."""
    return ImageEnhance.Color(image).enhance(1 - percent / 100)


def _recompress(image: Image.Image, quality: float) -> Image.Image:
    """Save as JPEG at this quality and open again."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=round(quality))
    with Image.open(buffer) as reopened:
        return reopened.convert("RGB")


def _thumbnail(image: Image.Image, side: float) -> Image.Image:
    """What many websites keep of a photo: a small square, stretched, recompressed."""
    side = min(round(side), max(image.size))
    square = image.resize((side, side), Image.Resampling.BICUBIC)
    return _recompress(square, quality=50)


def _at_least_one(width: float, height: float) -> tuple[int, int]:
    """Round a size to whole pixels, at least 1 by 1."""
    return max(1, round(width)), max(1, round(height))


# In the order in which `apply_all` applies them: camera first, transport last.
_ALL = (
    Corruption("rotate", "Rotate", "degrees", -180, 180, 0, (15, 30, 45), _rotate),
    Corruption("crop", "Crop", "% of the area kept", 5, 100, 100, (70, 50, 30), _crop),
    Corruption("blur", "Blur", "radius, % of the longer side", 0, 5, 0, (0.5, 1, 2), _blur),
    Corruption("darken", "Darken", "% of the light", 5, 100, 100, (50, 30, 15), _light),
    Corruption("brighten", "Brighten", "% of the light", 100, 400, 100, (150, 200, 300), _light),
    Corruption("contrast", "Flatten", "% of the contrast", 5, 100, 100, (50, 30, 15), _contrast),
    Corruption("grey", "Grey", "% of the colour removed", 0, 100, 0, (50, 80, 100), _grey),
    Corruption("squash", "Squash", "width / height, times", 0.25, 4, 1, (0.75, 1.5, 0.5), _squash),
    Corruption("shrink", "Shrink", "longer side in pixels", 16, 1024, 1024, (200, 150, 100), _shrink),
    Corruption("recompress", "Recompress", "JPEG quality", 1, 100, 100, (30, 20, 10), _recompress),
    Corruption("thumbnail", "Thumbnail", "side in pixels", 16, 1024, 1024, (200, 150, 100), _thumbnail),
)

CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType({item.name: item for item in _ALL})
"""Every corruption by name, in the order in which `apply_all` applies them."""
