"""Turn anything a user holds into an upright RGB picture.

Training and prediction both go through this module: what a model sees in use is what it saw in training.
"""

from __future__ import annotations

import io
import string
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from os import PathLike, fspath
from typing import IO, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from catdog_hub.errors import ImageError

ImageSource: TypeAlias = "str | PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | np.ndarray"

RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

# Endings of the files that are looked for in folders. What a file really is, its content says.
SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("apng", "avif", "bmp", "dib", "gif", "ico", "jfif", "jp2", "jpe", "jpeg", "jpg", "mpo", "pbm"),
        *("pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)

# The same as Pillow calls them; it knows more, some of which start other programs (EPS). MPO is found as JPEG, and
# TGA, which has no signature and takes much for its own, comes last.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "AVIF", "ICO", "JPEG2000", "PPM", "TGA")

# What is decoded at most, after a JPEG has been drafted down. A small file can hold a huge picture, and a pixel takes
# up to eight bytes on its way to RGB.
MAX_PIXELS = 100_000_000

MAX_DOWNLOAD_BYTES = 50 * 1024 * 1024
DOWNLOAD_TIMEOUT_SECONDS = 30

# Modes that Pillow converts to RGB without loss of meaning. The others are handled one by one in `_flatten`.
_DIRECT_MODES = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})

# How many pixels are converted at once by ways that take several times a picture's memory.
_BAND_PIXELS = 4_000_000

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow's decoders raise on damaged files (seen on its own collection of broken images, and with changed bytes).
_DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def load_rgb(source: ImageSource, *, at_least: tuple[int, int] | None = None) -> Image.Image:
    """Read a picture and return it upright, opaque and in RGB.

    EXIF orientation is applied, transparency is laid on white, 16-bit and floating-point greys are scaled to
    8 bits, and the first frame of an animation is taken. More than `MAX_PIXELS` are not decoded.

    Args:
        source: A path, an `http(s)` URL, the bytes of an image file, a binary file object, a Pillow image (left
            as it is), or an array of shape (height, width), (height, width, 1), (height, width, 3) or
            (height, width, 4): `uint8` in 0..255, or floating point in 0..1.
        at_least: Width and height that are enough for the caller. A JPEG may then be decoded at a half, a
            quarter or an eighth of its size, as long as both sides stay at or above these.

    Returns:
        A Pillow image of mode `RGB`.

    Raises:
        ImageError: The source cannot be read as a picture; the message says which and why.
    """
    if isinstance(source, np.ndarray):
        return _flatten(_from_array(source))
    if isinstance(source, Image.Image):
        return _decode(source, describe(source))
    name = describe(source)
    try:
        stream = _open_stream(source)
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a path that no file system can hold
        raise ImageError(f"Cannot read {name}: {getattr(error, 'strerror', None) or error}.") from error
    with nullcontext(stream) if stream is source else stream as readable:  # the caller's own file stays open
        try:
            with Image.open(readable, formats=_FORMATS) as image:
                if at_least is not None and image.format in {"JPEG", "MPO"}:
                    image.draft(image.mode, at_least)
                return _decode(image, name)
        except UnidentifiedImageError as error:
            raise ImageError(
                f"{name} is not a picture in a format that can be read (JPEG, PNG, WebP, GIF, ...)."
            ) from error
        # Pillow's own limits; the second is a warning, unless the program makes errors of warnings.
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ImageError(f"{name} has too many pixels to be opened safely: {error}") from error
        except ImageError:
            raise
        except _DECODER_ERRORS as error:
            raise ImageError(f"{name} is damaged: {error}.") from error


def load_pixels(source: ImageSource, size: tuple[int, int], resample: str = "bilinear") -> np.ndarray:
    """Read a picture and stretch it to a model's input size.

    Args:
        source: As for `load_rgb`.
        size: Height and width in pixels.
        resample: A key of `RESAMPLING`. Pillow's filters widen when shrinking, so there is no aliasing.

    Returns:
        An array of shape (height, width, 3), `uint8` in 0..255, RGB.

    Raises:
        ImageError: The source cannot be read as a picture.
    """
    height, width = size
    # Twice the target leaves the resize enough to average over: the same rule as Pillow's own `thumbnail`.
    return fit(load_rgb(source, at_least=(2 * width, 2 * height)), size, resample)


def fit(image: Image.Image, size: tuple[int, int], resample: str = "bilinear") -> np.ndarray:
    """Stretch an RGB picture to (height, width) and return its pixels, `uint8` of shape (height, width, 3)."""
    height, width = size
    return np.asarray(image.resize((width, height), RESAMPLING[resample]))


def describe(source: object) -> str:
    """Name a source in an error message: its path or URL where it has one, else its type."""
    if isinstance(source, (str, PathLike)):
        return repr(fspath(source))
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    if isinstance(name, str) and name:
        return repr(name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"the {len(source)} bytes given"
    return f"the {type(source).__name__} given"


def is_url(source: object) -> bool:
    """Say whether a source is an `http` or `https` URL."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def _open_stream(source: object) -> IO[bytes]:
    if is_url(source):
        return io.BytesIO(_download(str(source)))
    if isinstance(source, (str, PathLike)):
        return open(source, "rb")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    if hasattr(source, "read"):
        if getattr(source, "closed", False):
            raise ImageError(f"Cannot read {describe(source)}: the file is closed. Give its path, or open it again.")
        if isinstance(source.read(0), str):
            raise ImageError(f"Cannot read {describe(source)}: the file is open as text. Open it in mode 'rb'.")
        return source  # type: ignore[return-value]
    raise ImageError(
        f"Cannot read a picture from {type(source).__name__}. "
        "Give a path, an http(s) URL, bytes, a file object, a Pillow image or a NumPy array."
    )


def _download(url: str) -> bytes:
    # Only here: they would be a fifth of the time that importing this package takes.
    import http.client
    import urllib.error
    import urllib.request

    try:
        request = urllib.request.Request(_quote(url), headers={"User-Agent": "catdog-hub"})
        with urllib.request.urlopen(request, timeout=DOWNLOAD_TIMEOUT_SECONDS) as response:
            data = response.read(MAX_DOWNLOAD_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise ImageError(f"Cannot download {url!r}: the server answered {error.code} {error.reason}.") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ImageError(f"Cannot download {url!r}: {getattr(error, 'reason', error)}.") from error
    if len(data) > MAX_DOWNLOAD_BYTES:
        raise ImageError(
            f"{url!r} is larger than {MAX_DOWNLOAD_BYTES // 1024**2} MB. Download it yourself and shrink it first."
        )
    return data


def _quote(url: str) -> str:
    """Encode what people write but HTTP does not carry: spaces and letters beyond ASCII."""
    import urllib.parse

    parts = urllib.parse.urlsplit(url)
    if not parts.netloc.isascii():
        parts = parts._replace(netloc=parts.netloc.encode("idna").decode())
    return urllib.parse.quote(parts.geturl(), safe=string.punctuation)


def _decode(image: Image.Image, name: str) -> Image.Image:
    """Load the pixels, turn the picture upright, drop transparency."""
    width, height = image.size
    if not width * height:
        raise ImageError(f"{name} has no pixels: it is {width} x {height}.")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has too many pixels: {width} x {height}, and at most {MAX_PIXELS // 10**6} million are decoded. "
            "Shrink it first."
        )
    try:
        image.load()
        return _flatten(_upright(image))
    except ImageError:
        raise
    except _DECODER_ERRORS as error:
        raise ImageError(f"{name} is damaged: {error}.") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DECODER_ERRORS:  # broken metadata around sound pixels: show the picture as it is stored
        return image
    # Not `ImageOps.exif_transpose`: it also writes the metadata anew, which fails where another tag is damaged.
    return image if turn is None else image.transpose(turn)


def _flatten(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB."""
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return _by_bands(image, _on_white)
    if image.mode == "RGB":
        return image
    if image.mode in _DIRECT_MODES:
        return image.convert("RGB")
    if image.mode == "LAB":
        from PIL import ImageCms  # rare, and it loads LittleCMS

        transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        converted = ImageCms.applyTransform(image, transform)
        if converted is None:  # pragma: no cover - only with inPlace=True
            raise ImageError("Cannot convert a LAB picture to RGB.")
        return converted
    if image.mode.startswith(("I", "F")):
        full_scale = _full_scale(image)
        return _by_bands(image, lambda band: _to_eight_bits(band, full_scale))
    raise ImageError(
        f"Pictures of Pillow mode {image.mode!r} are not supported. Convert it first: image.convert('RGB')."
    )


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut a picture into bands of at most `_BAND_PIXELS` (but a whole row), each with its top row."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _by_bands(image: Image.Image, to_rgb: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert a picture band by band, so that the memory this takes is bounded."""
    converted = Image.new("RGB", image.size)
    for top, band in _bands(image):
        converted.paste(to_rgb(band), (0, top))
    return converted


def _on_white(image: Image.Image) -> Image.Image:
    # Pillow has no direct way from La (premultiplied grey) to RGBA.
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _grey_values(image: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _full_scale(image: Image.Image) -> float:
    """Return the value that is white in a deep or floating-point grey picture.

    16-bit modes have a full scale of their own. For 32-bit ones it is the smallest usual limit that holds all values.
    """
    if image.mode.startswith("I;16"):
        return 65535.0
    top = max(float(_grey_values(band).max()) for _, band in _bands(image))
    return next((limit for limit in (1.0, 255.0, 65535.0) if top <= limit), top)


def _to_eight_bits(image: Image.Image, full_scale: float) -> Image.Image:
    return Image.fromarray(np.clip(_grey_values(image) * (255.0 / full_scale) + 0.5, 0, 255).astype(np.uint8)).convert(
        "RGB"
    )


def _from_array(array: np.ndarray) -> Image.Image:
    shape = array.shape
    if array.ndim == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {3, 4}) or 0 in shape:
        raise ImageError(
            f"Cannot read a picture from an array of shape {shape}. Expected (height, width), (height, width, 1), "
            "(height, width, 3) or (height, width, 4); for channels first use array.transpose(1, 2, 0)."
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ImageError(
                f"A floating-point array must lie in 0..1; received {array.min():.4g} to {array.max():.4g}. "
                "For values in 0..255 use array.astype('uint8')."
            )
        array = (array * 255 + 0.5).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.integer):
        if array.min() < 0 or array.max() > 255:
            raise ImageError(f"An integer array must lie in 0..255; received {array.min()} to {array.max()}.")
        array = array.astype(np.uint8)
    else:
        raise ImageError(f"Cannot read a picture from an array of type {array.dtype}. Use uint8, or floats in 0..1.")
    return Image.fromarray(np.ascontiguousarray(array))
