"""What visitors send, and the one place that decides which files of the server they may name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from catdog_hub.errors import ImageError
from catdog_hub.images import is_url
from catdog_hub.ui.samples import SAMPLES_FOLDER

MAX_PICTURE_BYTES = 25 * 1024**2
MAX_ARCHIVE_BYTES = 300 * 1024**2

# For events that read files. Gradio would open pictures first, with an error of its own where that fails and without EXIF
# handling; like this, `catdog_hub.images.load_rgb` is the only thing that opens them. (Overriding `gr.Image.preprocess`
# in a subclass would do too, but makes Gradio write a .pyi file into the package.) What arrives is what was sent, so
# `file_of` has to check it: Gradio looks only at paths that carry its own mark.
FILE: dict[str, Any] = {"preprocess": False}


def file_of(upload: Mapping[str, Any] | None, *, at_most: int = MAX_PICTURE_BYTES) -> Path | None:
    """Return the file behind what a picture or file input holds; `None` where it is empty.

    Args:
        upload: What Gradio hands over for the input: anything that a program may have sent.
        at_most: Largest size in bytes.

    Raises:
        ImageError: It is no file that was uploaded, downloaded by Gradio or shipped as an example, or it is too large.
    """
    if upload is None:
        return None
    named = upload.get("path")
    if not named:
        raise ImageError("No file was uploaded. Send the picture as a file, not as a data: URL.")
    if is_url(named):
        raise ImageError('An address needs "meta": {"_type": "gradio.FileData"} beside its "path" to be downloaded.')
    name = Path(named).name
    try:
        file = Path(named).resolve()
        if not any(file.is_relative_to(folder.resolve()) for folder in (Path(get_upload_folder()), SAMPLES_FOLDER)):
            raise ImageError(f"{name!r} was not uploaded to this app. Upload it first.")
        found, size = file.is_file(), file.stat().st_size
    except FileNotFoundError:
        found, size = False, 0
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):  # which is a ValueError too
            raise
        raise ImageError("That is not the path of an uploaded file.") from error
    if not found:
        raise ImageError(f"{name!r} is no longer on the server. Upload it again.")
    if size > at_most:
        raise ImageError(f"{name!r} is larger than {megabytes(at_most)}. Shrink it first.")
    return file


def megabytes(size: int) -> str:
    """Return a limit as visitors read it."""
    return f"{size // 1024**2} MB"
